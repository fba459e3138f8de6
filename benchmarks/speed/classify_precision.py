"""What less precision gains, and what it costs in agreement with float32."""

from __future__ import annotations

from typing import Any

from benchmarks.speed.alternate import Measurement, alternate, timed
from benchmarks.speed.models import STANDARD, Variant, load_classifier, tuned_directory
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import SETS, texts
from handful.llm.protocol import Precision

_TEXTS = 256
_AGREEMENT_TEXTS = 1000
_PRECISIONS: tuple[Precision, ...] = ("int8", "bfloat16")


def measure(settings: Settings) -> PartResult:
    """Return `classify_<precision>_speedup` and `_agreement`: the smallest over the sets, and by set."""
    figures: dict[str, Any] = {}
    measurements: dict[str, Any] = {}
    for precision in _PRECISIONS:
        speedups, agreements = {}, {}
        for name in SETS:
            speedups[name], agreements[name], measurements[f"{precision}, {name}"] = _compared(
                name, precision, settings
            )
        figures |= {
            f"classify_{precision}_speedup": min(speedups.values()),
            f"classify_{precision}_speedup_by_set": speedups,
            f"classify_{precision}_agreement": min(agreements.values()),
            f"classify_{precision}_agreement_by_set": agreements,
        }
    return PartResult(figures, measurements)


def _compared(name: str, precision: Precision, settings: Settings) -> tuple[float, float, dict[str, Any]]:
    """Return speed-up, agreement, and every repeat."""
    directory = tuned_directory(name, STANDARD, settings)
    exact, rounded = load_classifier(directory), load_classifier(directory, Variant(precision))
    judged = texts(name, settings.count(_AGREEMENT_TEXTS))
    agreement = rounded.agreement(exact, judged)
    read = texts(name, settings.count(_TEXTS), _AGREEMENT_TEXTS)

    def rounded_side(_: int) -> Measurement:
        return timed(lambda: len(rounded.log_probs(read)))

    def exact_side(_: int) -> Measurement:
        return timed(lambda: len(exact.log_probs(read)))

    comparison = alternate(f"{precision}, {name}", rounded_side, exact_side, settings.repeats)
    return comparison.ratio, agreement, {**comparison.to_dict(), "judged_texts": len(judged)}
