"""Classifying with our tuned short prompt, against the plain loop that runs the whole ICL-4 prompt."""

from __future__ import annotations

from typing import Any

from benchmarks.speed.classify_plain import against_plain_loop
from benchmarks.speed.models import STANDARD, load_base, load_classifier, tuned_directory, untuned_classifier
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import SEED, SETS, few_shot_task, texts
from handful.demonstrations import in_random_order

_TEXTS = {"trec": 32, "sst2": 32, "ag_news": 32}
"""Per repeat: the loop needs half a minute for them."""


def measure(settings: Settings) -> PartResult:
    """Return `classify_vs_icl_plain` by set: how many times as many texts a second."""
    figures: dict[str, float] = {}
    measurements: dict[str, Any] = {}
    for name in SETS:
        ours = load_classifier(tuned_directory(name, STANDARD, settings))
        shown = in_random_order(few_shot_task(name).examples, SEED, "in_context")
        count = settings.count(_TEXTS[name], 4)
        groups = [texts(name, count, count * repeat) for repeat in range(settings.repeats)]
        in_context = untuned_classifier(name, shown)
        comparison, facts = against_plain_loop(f"ICL-4 plain loop, {name}", ours, in_context, load_base(), groups)
        figures[name] = comparison.ratio
        measurements[name] = {**comparison.to_dict(), **facts}
    notes = ("The loop's token ids are made beforehand; our time includes tokenising.",)
    return PartResult({"classify_vs_icl_plain": figures}, measurements, notes)
