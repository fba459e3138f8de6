"""Arrays in, numbers out: accuracy with its interval, macro-F1, scores by label, calibration."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    """Return the mean F1 over the labels that occur in `gold` or `predicted`; 0 without texts."""
    return confusion_macro_f1(np.array(confusion_matrix(gold, predicted, labels))) if gold else 0.0


def confusion_accuracy(confusion: NDArray[np.int64], whole: NDArray[np.int64] | None = None) -> float:
    """Return the share of the diagonal of a confusion matrix, shape (n_labels, n_labels), rows true."""
    del whole  # all labels count alike
    return float(np.trace(confusion) / confusion.sum())


def confusion_macro_f1(confusion: NDArray[np.int64], whole: NDArray[np.int64] | None = None) -> float:
    """Return the mean F1 over the labels that occur or are predicted.

    Args:
        confusion: Shape (n_labels, n_labels), rows true.
        whole: What `confusion` is a resample of. Its labels are averaged over, and one that the resample misses has its
            F1 of the whole: else a rare label that is never found would drop out and the mean would jump up.
    """
    whole = confusion if whole is None else whole
    f1, of_whole = _f1(confusion), _f1(whole)
    return float(np.nanmean(np.where(np.isnan(f1), of_whole, f1)))


def _f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the F1 of each label, NaN of one that neither occurs nor is predicted."""
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1: NDArray[np.float64] = np.full(len(either), np.nan)
    f1[either > 0] = 2 * confusion.diagonal()[either > 0] / either[either > 0]
    return f1


def confusion_matrix(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Return how often each label (row) was predicted as each label (column)."""
    places = {label: index for index, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for true, claimed in zip(gold, predicted, strict=True):
        counts[places[true]][places[claimed]] += 1
    return counts


@dataclass(frozen=True)
class LabelMetrics:
    """How well one label is found."""

    label: str
    precision: float
    """0 where the label is never predicted."""
    recall: float
    f1: float
    n_texts: int


def per_label(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[LabelMetrics]:
    """Return precision, recall and F1 of each label, in the order of `labels`."""
    counts = np.array(confusion_matrix(gold, predicted, labels)).reshape(len(labels), len(labels))
    hits, true, claimed = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    precision, recall = hits / np.maximum(claimed, 1), hits / np.maximum(true, 1)
    f1 = 2 * hits / np.maximum(true + claimed, 1)
    rows = zip(labels, precision, recall, f1, true, strict=True)
    return [LabelMetrics(label, float(p), float(r), float(f), int(n)) for label, p, r, f, n in rows]


@dataclass(frozen=True)
class Bin:
    """The texts whose likeliest label has a probability in (low, high]."""

    low: float
    high: float
    n_texts: int
    mean_confidence: float
    """0 where there is no text; so is the accuracy."""
    accuracy: float


def reliability(probabilities: ArrayLike, gold_indices: ArrayLike, n_bins: int = 10) -> list[Bin]:
    """Sort the answers by confidence into bins of equal width (Guo et al. 2017, section 2).

    Args:
        probabilities: Shape (n_texts, n_labels).
        gold_indices: Column of each text's true label, shape (n_texts,).
        n_bins: How many.
    """
    rows, gold = np.asarray(probabilities, dtype=np.float64), np.asarray(gold_indices)
    confidence, right = rows.max(axis=1), rows.argmax(axis=1) == gold
    places = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    bins = []
    for index in range(n_bins):
        own = places == index
        means = (float(confidence[own].mean()), float(right[own].mean())) if own.any() else (0.0, 0.0)
        bins.append(Bin(index / n_bins, (index + 1) / n_bins, int(own.sum()), *means))
    return bins


GUESSING = "guessing, or always giving the commonest label,"
"""What has the accuracy of `chance_of`."""


def chance_of(labels: Sequence[str], gold: Sequence[str]) -> float:
    """Return the accuracy that needs no text: of guessing, or of always giving the commonest label."""
    commonest = max(Counter(gold).values(), default=0) / max(1, len(gold))
    return max(1 / len(labels), commonest)


def calibration_error(probabilities: ArrayLike, gold_indices: ArrayLike, n_bins: int = 10) -> float:
    """Return the expected calibration error: mean gap between confidence and accuracy (Guo et al. 2017, equation 3)."""
    bins = reliability(probabilities, gold_indices, n_bins)
    total = sum(entry.n_texts for entry in bins)
    return sum(entry.n_texts * abs(entry.accuracy - entry.mean_confidence) for entry in bins) / total


def brier_score(probabilities: ArrayLike, gold_indices: ArrayLike) -> float:
    """Return the mean squared distance to the true label's indicator, summed over labels, in [0, 2] (Brier 1950)."""
    rows, gold = np.asarray(probabilities, dtype=np.float64), np.asarray(gold_indices)
    return float(((rows - np.eye(rows.shape[1])[gold]) ** 2).sum(axis=1).mean())


def log_loss(probabilities: ArrayLike, gold_indices: ArrayLike) -> float:
    """Return the mean negative log-probability of the true label in nats; no text costs more than 34.5 nats."""
    rows, gold = np.asarray(probabilities, dtype=np.float64), np.asarray(gold_indices)
    return float(-np.log(np.maximum(rows[np.arange(len(gold)), gold], 1e-15)).mean())
