"""LLM engines: one Protocol with two verbs, generate and score."""

import os

# OpenMP threads that wait by spinning stand in each other's way as soon as anything else runs on the machine: two
# processes on two cores multiplied small matrices at 4 % of the speed of one (docs/experiments.md). It must be set
# before torch is first imported; whoever sets it otherwise is obeyed.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
