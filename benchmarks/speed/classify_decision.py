"""Classifying with our classifier, against transformers' `pipeline("decision")` with the same adapter directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from transformers import pipeline

from benchmarks.speed.alternate import Comparison, Measurement, alternate, timed
from benchmarks.speed.classify_plain import require_agreement
from benchmarks.speed.models import MODEL, STANDARD, load_classifier, tuned_directory
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import SETS, texts
from handful.classifier import Classifier
from handful.llm.gguf_cache import dequantised
from handful.llm.sources import locate

_TEXTS = 32
"""Per repeat, asked one at a time."""


def measure(settings: Settings) -> PartResult:
    """Return `classify_vs_decision_pipeline`: the smallest over the sets; and by set, and ours one at a time too."""
    batched: dict[str, Comparison] = {}
    single: dict[str, Comparison] = {}
    for name in SETS:
        directory = tuned_directory(name, STANDARD, settings)
        ours = load_classifier(directory)
        source = locate(MODEL)
        base = str(dequantised(Path(source.location))) if source.is_gguf else source.location
        decide = pipeline("decision", model=base, decision_config=str(directory), device="cpu")
        asked = texts(name, settings.count(_TEXTS))
        answers = np.array([ask(decide, ours, text) for text in asked])
        require_agreement(ours.predict_proba(asked), answers, f"decision pipeline, {name}")

        def our_side(_: int, ours: Classifier = ours, asked: list[str] = asked) -> Measurement:
            return timed(lambda: len(ours.predict_proba(asked)))

        def our_single_side(_: int, ours: Classifier = ours, asked: list[str] = asked) -> Measurement:
            return timed(lambda: len([ours.predict_proba([text]) for text in asked]))

        def their_side(_: int, decide: Any = decide, ours: Classifier = ours, asked: list[str] = asked) -> Measurement:
            return timed(lambda: len([ask(decide, ours, text) for text in asked]))

        batched[name] = alternate(f"decision pipeline, {name}", our_side, their_side, settings.repeats)
        single[name] = alternate(f"both one at a time, {name}", our_single_side, their_side, settings.repeats)
    by_set = {name: comparison.ratio for name, comparison in batched.items()}
    return PartResult(
        {
            "classify_vs_decision_pipeline": min(by_set.values()),
            "classify_vs_decision_pipeline_by_set": by_set,
            "classify_vs_decision_pipeline_both_one_at_a_time": {name: c.ratio for name, c in single.items()},
        },
        {
            "ours_in_batches": {name: comparison.to_dict() for name, comparison in batched.items()},
            "ours_one_at_a_time": {name: comparison.to_dict() for name, comparison in single.items()},
        },
    )


def ask(decide: Any, classifier: Classifier, text: str) -> list[float]:
    """Return the pipeline's probability of each label for one text."""
    question = {"type": "choice", "criteria": dict.fromkeys(classifier.labels)}
    answer = decide({"state": text, "questions": {"label": question}})["label"]["probabilities"]
    return [answer[label] for label in classifier.labels]
