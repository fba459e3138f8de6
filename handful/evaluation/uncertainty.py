"""How sure a comparison is: intervals over seeds and texts, and paired tests.

All methods of a seed are measured on the same texts, so differences are taken text by text and seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from handful.seeding import array_stream

_RESAMPLES = 2000
_LEAST_SHOWN_P = 0.0005
_DIGITS_THAT_COUNT = 9
_LEAST_P = 1e-15
"""Smaller ones are not told from it."""
Statistic = Callable[[NDArray[np.int64], NDArray[np.int64]], float]
"""Confusion matrices, (n_labels, n_labels), rows true, of a resample and of the whole sample -> a number."""


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
    """Two-sided: the level whose interval ends at 0; over the texts of a single seed McNemar's exact test."""
    n_seeds: int
    """How many seeds it is of: of one, it knows nothing of others."""


def mean_interval(
    gold: ArrayLike, predicted: ArrayLike, n_labels: int, statistic: Statistic, seed: int = 0
) -> Interval:
    """Return a statistic's mean over seeds with the interval for other draws of examples and other such texts.

    Over the texts it is a percentile bootstrap, over several seeds the t-interval (a bootstrap of a handful of seeds is
    too narrow); the two are independent, so their half-widths add as squares.

    Args:
        gold: Label index of each text, shape (n_texts,).
        predicted: Label indices, shape (n_seeds, n_texts).
        n_labels: How many labels there are.
        statistic: What is made of each seed's confusion matrix, within [0, 1], and of those of its resamples.
        seed: Of the bootstrap's draws; a constant, so that tables do not move.
    """
    pairs = np.asarray(gold)[None] * n_labels + np.atleast_2d(np.asarray(predicted))  # (S, T)

    def confusion(cells: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(cells, minlength=n_labels * n_labels).reshape(n_labels, n_labels)

    wholes = [confusion(row) for row in pairs]
    each = np.array([statistic(whole, whole) for whole in wholes])
    mean, (n_seeds, n_texts) = float(each.mean()), pairs.shape
    spread = float(each.std(ddof=1)) if n_seeds > 1 else 0.0
    random = array_stream(seed, "bootstrap")
    drawn = []
    for _ in range(_RESAMPLES):
        texts = random.integers(n_texts, size=n_texts)
        of_seeds = zip(pairs, wholes, strict=True)
        drawn.append(np.mean([statistic(confusion(row[texts]), whole) for row, whole in of_seeds]))
    over_texts = np.quantile(drawn, (0.025, 0.975)) - mean
    if not over_texts.any():  # all right, or all wrong: so many texts may still hide a share of others
        unseen = _unseen(n_texts)
        over_texts = np.array([-unseen, unseen])
    over_seeds = _t_half_width(spread, n_seeds)
    below, above = (float(np.hypot(max(0.0, half), over_seeds)) for half in (-over_texts[0], over_texts[1]))
    return Interval(mean, max(0.0, mean - below), min(1.0, mean + above), spread, n_seeds)


def _unseen(n_texts: int) -> float:
    """Return the largest share that may be of what none of so many texts is, at 97.5 % (Clopper and Pearson 1934)."""
    return float(1 - 0.025 ** (1 / n_texts))


def _t_half_width(spread: float, n_seeds: int) -> float:
    return float(stats.t.ppf(0.975, n_seeds - 1)) * spread / float(np.sqrt(n_seeds)) if n_seeds > 1 else 0.0


def paired_difference(right_a: ArrayLike, right_b: ArrayLike, seed: int = 0) -> Difference:
    """Compare two methods on the same texts, for other seeds and other such texts.

    With several seeds the interval is the paired t-interval over them and that over the texts together, half-widths
    added as squares as in `mean_interval`: over the seeds alone, five seeds of methods that are equally good were told
    apart in every second case. With one seed, or where all answer alike, it is that over the texts of the first.

    Args:
        right_a: Whether each answer was right, bool, shape (n_texts,) or (n_seeds, n_texts).
        right_b: The same of the other method.
        seed: Of the bootstrap.
    """
    a, b = (np.atleast_2d(np.asarray(right, dtype=bool)) for right in (right_a, right_b))
    gains = a.astype(np.int64) - b  # (S, T)
    if len(np.unique(gains, axis=0)) == 1:
        return _difference_over_texts(gains[0], seed, len(gains))
    errors = (_error(gains.mean(axis=1)), len(gains) - 1), (_error_over_texts(gains), gains.shape[1] + 1)
    mean, half = float(gains.mean()), _half_width(0.05, errors)
    level = _level_that_ends_at(abs(mean), errors)
    return Difference(mean, max(-1.0, mean - half), min(1.0, mean + half), level, len(gains))


def difference_over_seeds(gains: ArrayLike) -> Difference:
    """Return the mean of a difference in accuracy that was taken seed by seed, with the paired t-interval.

    It is for these test texts: what others would change is not in such numbers.

    Args:
        gains: One method's accuracy less the other's, shape (n_seeds,), at least two; where all are equal, nothing is
            known of how they spread, and the interval is all there can be.
    """
    # Equal gains differ in their last bits by what they were taken from.
    by_seed = np.round(np.asarray(gains, dtype=np.float64), _DIGITS_THAT_COUNT)
    mean, spread = float(by_seed.mean()), float(by_seed.std(ddof=1))
    if len(np.unique(by_seed)) == 1:
        return Difference(mean, -1.0, 1.0, 1.0, len(by_seed))
    half = _t_half_width(spread, len(by_seed))
    p_value = float(stats.ttest_1samp(by_seed, 0).pvalue)
    return Difference(mean, max(-1.0, mean - half), min(1.0, mean + half), p_value, len(by_seed))


_Errors = Sequence[tuple[float, int]]
"""Independent standard errors of one mean, each with its degrees of freedom."""


def _error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _error_over_texts(gains: NDArray[np.int64]) -> float:
    """Return the standard error over the texts, of gains by seed and text.

    Two texts more, each right by one method alone, keep a few texts apart from passing for certain (Bonett and Price
    2012).
    """
    by_text = np.append(gains.mean(axis=0), [1.0, -1.0])
    return _error(by_text)


def _half_width(level: float, errors: _Errors) -> float:
    return float(np.hypot(*(stats.t.isf(level / 2, degrees) * error for error, degrees in errors)))


def _level_that_ends_at(distance: float, errors: _Errors) -> float:
    """Return the level at which an interval is so wide to each side."""
    if not distance:
        return 1.0
    if _half_width(_LEAST_P, errors) <= distance:
        return _LEAST_P

    def beyond(log_level: float) -> float:
        return _half_width(math.exp(log_level), errors) - distance

    return math.exp(brentq(beyond, math.log(_LEAST_P), 0.0))


def _difference_over_texts(gains: NDArray[np.int64], seed: int, n_seeds: int) -> Difference:
    """Return the difference of one seed: McNemar's exact test, and an interval that holds 0 where that finds nothing.

    It spans the bootstrap's and the exact one of which method is right where only one is (Clopper and Pearson 1934): by
    itself the bootstrap of a few such texts is too narrow. Without any, so many texts may still hide a share of
    1 - 0.025^(1/n).
    """
    only_a, only_b = int((gains > 0).sum()), int((gains < 0).sum())
    apart, mean = only_a + only_b, float(gains.mean())
    if not apart:
        unseen = _unseen(len(gains))
        return Difference(0.0, -unseen, unseen, 1.0, n_seeds)
    random = array_stream(seed, "bootstrap")
    drawn = [gains[random.integers(len(gains), size=len(gains))].mean() for _ in range(_RESAMPLES)]
    exact = stats.binomtest(only_a, apart).proportion_ci(0.95, "exact")
    bounds = [(2 * share - 1) * apart / len(gains) for share in (exact.low, exact.high)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    p_value = mcnemar(only_a, only_b)
    return Difference(mean, min(float(low), bounds[0]), max(float(high), bounds[1]), p_value, n_seeds)


def shown_mean(mean: float, sd: float, n_seeds: int) -> str:
    """Return a mean over seeds with its spread; one seed has none.

    >>> shown_mean(0.5, 0.02, 5), shown_mean(0.5, 0.0, 1), shown_mean(0.38249999999999995, 0.0, 1)
    ('0.500 ± 0.020', '0.500', '0.383')
    """
    # Means of the same counts differ in their last bits by the order they were added in.
    mean = round(mean, _DIGITS_THAT_COUNT)
    return f"{mean:.3f} ± {sd:.3f}" if n_seeds > 1 else f"{mean:.3f}"


def shown_p_value(value: float) -> str:
    """Return a p-value with three digits, and what three digits cannot say as less than 0.001."""
    return "< 0.001" if value < _LEAST_SHOWN_P else f"{value:.3f}"


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided exact p-value for texts that only one of two methods gets right (McNemar 1947)."""
    total = only_a + only_b
    return float(stats.binomtest(only_a, total).pvalue) if total else 1.0
