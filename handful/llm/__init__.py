"""LLM engines: one Protocol with two verbs, generate and score."""

import os

# OpenMP threads that wait by spinning stand in each other's way as soon as anything else runs on the machine: two
# processes on two cores multiplied small matrices at 4 % of the speed of one. Less spinning than this makes a training
# step slower where nothing else runs (docs/experiments.md, 2026-11-22). It must be set before torch is first imported;
# whoever sets it otherwise is obeyed.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

# oneDNN, and PyTorch around it, keep up to 1,024 compiled products each, one for every shape they have met, and batches
# of texts have ever new ones: a long prediction grew by a hundred megabytes. A forward pass needs four, a training step
# about forty a layer: with fewer kept, each layer's were compiled anew, a tenth of the time.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "96")
os.environ.setdefault("LRU_CACHE_CAPACITY", "32")
