"""How sure a comparison is: intervals by bootstrap over seeds and texts, and paired tests.

All methods of a seed are measured on the same texts, so differences are taken text by text and seed by seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from handful.seeding import array_stream

_RESAMPLES = 2000
_LEAST_SHOWN_P = 0.0005
Statistic = Callable[[NDArray[np.int64]], float]
"""Confusion matrix, (n_labels, n_labels), rows true -> a number."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % interval."""

    mean: float
    low: float
    high: float
    sd: float
    """Standard deviation over the seeds (n - 1); 0 for one seed."""
    n_seeds: int


@dataclass(frozen=True)
class Difference:
    """One method less another, paired, with the 95 % interval."""

    mean: float
    low: float
    high: float
    p_value: float
    """Two-sided: paired t-test over the seeds; over the texts of a single seed McNemar's exact test."""


def bootstrap(gold: ArrayLike, predicted: ArrayLike, n_labels: int, statistic: Statistic, seed: int = 0) -> Interval:
    """Return a statistic's mean over seeds with its percentile interval, seeds and texts drawn anew.

    Args:
        gold: Label index of each text, shape (n_texts,).
        predicted: Label indices, shape (n_seeds, n_texts).
        n_labels: How many labels there are.
        statistic: What is made of each seed's confusion matrix.
        seed: Of the draws; a constant, so that tables do not move.
    """
    pairs = np.asarray(gold)[None] * n_labels + np.atleast_2d(np.asarray(predicted))  # (S, T)

    def value(cells: NDArray[np.int64]) -> float:
        return statistic(np.bincount(cells, minlength=n_labels * n_labels).reshape(n_labels, n_labels))

    each = np.array([value(row) for row in pairs])
    random = array_stream(seed, "bootstrap")
    n_seeds, n_texts = pairs.shape
    drawn = []
    for _ in range(_RESAMPLES):
        texts = random.integers(n_texts, size=n_texts)
        drawn.append(np.mean([value(pairs[s, texts]) for s in random.integers(n_seeds, size=n_seeds)]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    spread = float(each.std(ddof=1)) if n_seeds > 1 else 0.0
    return Interval(float(each.mean()), float(low), float(high), spread, n_seeds)


def paired_difference(right_a: ArrayLike, right_b: ArrayLike, seed: int = 0) -> Difference:
    """Compare two methods on the same texts.

    With one seed the interval is a percentile bootstrap over the texts. With several it is the paired t-interval over
    the seeds: a bootstrap of a handful of seeds is too narrow, and the texts are the same for all of them.

    Args:
        right_a: Whether each answer was right, bool, shape (n_texts,) or (n_seeds, n_texts).
        right_b: The same of the other method.
        seed: Of the bootstrap.
    """
    a, b = (np.atleast_2d(np.asarray(right, dtype=bool)) for right in (right_a, right_b))
    gains = a.astype(np.int64) - b  # (S, T)
    if len(gains) > 1:
        return difference_over_seeds(gains.mean(axis=1))
    random, row = array_stream(seed, "bootstrap"), gains[0]
    drawn = [row[random.integers(len(row), size=len(row))].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Difference(float(row.mean()), float(low), float(high), mcnemar(int((row > 0).sum()), int((row < 0).sum())))


def difference_over_seeds(gains: ArrayLike) -> Difference:
    """Return the mean of a difference in accuracy that was taken seed by seed, with the paired t-interval.

    Args:
        gains: One method's accuracy less the other's, shape (n_seeds,), at least two.
    """
    by_seed = np.asarray(gains, dtype=np.float64)
    mean, spread = float(by_seed.mean()), float(by_seed.std(ddof=1) / np.sqrt(len(by_seed)))
    half = float(stats.t.ppf(0.975, len(by_seed) - 1)) * spread
    test = float(stats.ttest_1samp(by_seed, 0).pvalue) if spread else float(mean == 0)
    return Difference(mean, max(-1.0, mean - half), min(1.0, mean + half), test)


def shown_mean(mean: float, sd: float, n_seeds: int) -> str:
    """Return a mean over seeds with its spread; one seed has none.

    >>> shown_mean(0.5, 0.02, 5), shown_mean(0.5, 0.0, 1)
    ('0.500 ± 0.020', '0.500')
    """
    return f"{mean:.3f} ± {sd:.3f}" if n_seeds > 1 else f"{mean:.3f}"


def shown_p_value(value: float) -> str:
    """Return a p-value with three digits, and what three digits cannot say as less than 0.001."""
    return "< 0.001" if value < _LEAST_SHOWN_P else f"{value:.3f}"


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided exact p-value for texts that only one of two methods gets right (McNemar 1947)."""
    total = only_a + only_b
    return float(stats.binomtest(only_a, total).pvalue) if total else 1.0
