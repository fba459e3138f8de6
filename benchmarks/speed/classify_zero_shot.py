"""Classifying with our tuned classifier, against the plain loop with the same model and the same short prompt."""

from __future__ import annotations

from typing import Any

from benchmarks.speed.classify_plain import against_plain_loop
from benchmarks.speed.models import STANDARD, load_classifier, load_tuned, tuned_directory
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import SETS, texts

_TEXTS = 128
_BATCH = 32


def measure(settings: Settings) -> PartResult:
    """Return `classify_vs_zero_shot_plain`: the smallest over the sets, and by set."""
    figures: dict[str, float] = {}
    measurements: dict[str, Any] = {}
    for name in SETS:
        directory = tuned_directory(name, STANDARD, settings)
        ours, loaded = load_classifier(directory), load_tuned(directory)
        count = settings.count(_TEXTS, 4)
        groups = [texts(name, count, count * repeat) for repeat in range(settings.repeats)]
        comparison, facts = against_plain_loop(f"zero-shot plain loop, {name}", ours, ours, loaded, groups, _BATCH)
        figures[name] = comparison.ratio
        measurements[name] = {**comparison.to_dict(), **facts}
    smallest = min(figures.values())
    return PartResult(
        {"classify_vs_zero_shot_plain": smallest, "classify_vs_zero_shot_plain_by_set": figures},
        measurements,
        ("The loop's token ids are made beforehand; our time includes tokenising.",),
    )
