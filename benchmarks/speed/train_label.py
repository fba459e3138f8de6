"""Tuning with the loss of recipe `default`, against Trainer + peft with the same.

Both in float32, both on every linear layer of every layer: what else the recipe saves is not counted.
"""

from __future__ import annotations

from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.training_work import compare_sets


def measure(settings: Settings) -> PartResult:
    """Return `train_vs_hf_label`: examples a second, ours over theirs; the smaller of the sets, and by set."""
    ratios, measurements = compare_sets("default", settings)
    figures = {"train_vs_hf_label": min(ratios.values()), "train_vs_hf_label_by_set": ratios}
    return PartResult(figures, measurements)
