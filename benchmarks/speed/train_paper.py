"""Tuning as recipe `paper` does (next-token loss, queries and values, dropout), against Trainer + peft likewise."""

from __future__ import annotations

from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.training_work import compare_sets


def measure(settings: Settings) -> PartResult:
    """Return `train_vs_hf_paper`: examples a second, ours over theirs; the smaller of the sets, and by set."""
    ratios, measurements = compare_sets("paper", settings)
    figures = {"train_vs_hf_paper": min(ratios.values()), "train_vs_hf_paper_by_set": ratios}
    return PartResult(figures, measurements)
