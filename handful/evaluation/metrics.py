"""Arrays in, numbers out: accuracy with its interval, macro-F1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scores:
    """What a method got right on a test set."""

    n_texts: int
    accuracy: float
    accuracy_low: float
    """Lower end of the 95 % Wilson interval."""
    accuracy_high: float
    macro_f1: float


def score_predictions(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Scores:
    """Compare predictions with the true labels; sequences of equal, non-zero length."""
    right = sum(a == b for a, b in zip(gold, predicted, strict=True))
    low, high = wilson_interval(right, len(gold))
    return Scores(len(gold), right / len(gold), low, high, macro_f1(gold, predicted, labels))


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the interval of a proportion (Wilson 1927); it stays within [0, 1] and is honest for few trials.

    >>> tuple(round(end, 3) for end in wilson_interval(8, 10))
    (0.49, 0.943)
    """
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def macro_f1(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> float:
    """Return the mean F1 over the labels that occur in `gold` or `predicted`."""
    values = []
    for label in labels:
        hits = sum(a == b == label for a, b in zip(gold, predicted, strict=True))
        claimed, true = sum(b == label for b in predicted), sum(a == label for a in gold)
        if claimed or true:
            values.append(2 * hits / (claimed + true))
    return sum(values) / len(values) if values else 0.0
