"""What int8 gains, and what it costs in agreement with float32."""

from __future__ import annotations

from typing import Any

from benchmarks.speed.alternate import Measurement, alternate, timed
from benchmarks.speed.models import INT8, STANDARD, load_classifier, supports, tuned_directory
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import SETS, texts

_TEXTS = 256
_AGREEMENT_TEXTS = 1000


def measure(settings: Settings) -> PartResult:
    """Return `classify_int8_speedup` and `classify_int8_agreement`: the smallest over the sets, and by set."""
    if not supports("int8"):
        return PartResult(
            {"classify_int8_speedup": None, "classify_int8_agreement": None}, notes=("LocalLLM has no precision",)
        )
    speedups: dict[str, float] = {}
    agreements: dict[str, float] = {}
    measurements: dict[str, Any] = {}
    for name in SETS:
        directory = tuned_directory(name, STANDARD, settings)
        exact, rounded = load_classifier(directory, STANDARD), load_classifier(directory, INT8)
        judged = texts(name, settings.count(_AGREEMENT_TEXTS))
        same = exact.log_probs(judged).argmax(axis=1) == rounded.log_probs(judged).argmax(axis=1)
        agreements[name] = float(same.mean())
        read = texts(name, settings.count(_TEXTS), _AGREEMENT_TEXTS)

        def rounded_side(_: int, classifier: Any = rounded, read: list[str] = read) -> Measurement:
            return timed(lambda: len(classifier.log_probs(read)))

        def exact_side(_: int, classifier: Any = exact, read: list[str] = read) -> Measurement:
            return timed(lambda: len(classifier.log_probs(read)))

        comparison = alternate(f"int8, {name}", rounded_side, exact_side, settings.repeats)
        speedups[name] = comparison.ratio
        measurements[name] = {**comparison.to_dict(), "judged_texts": len(judged)}
    return PartResult(
        {
            "classify_int8_speedup": min(speedups.values()),
            "classify_int8_speedup_by_set": speedups,
            "classify_int8_agreement": min(agreements.values()),
            "classify_int8_agreement_by_set": agreements,
        },
        measurements,
    )
