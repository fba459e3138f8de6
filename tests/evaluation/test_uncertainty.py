from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from handful.evaluation.metrics import confusion_accuracy, confusion_macro_f1
from handful.evaluation.uncertainty import (
    Difference,
    difference_over_seeds,
    mcnemar,
    mean_interval,
    paired_difference,
)


def test_an_interval_of_one_seed_is_as_wide_as_the_binomial() -> None:
    gold = np.zeros(400, dtype=int)
    predicted = np.array([0] * 300 + [1] * 100)
    found = mean_interval(gold, predicted, 2, confusion_accuracy)
    assert (found.mean, found.sd, found.n_seeds) == (0.75, 0.0, 1)
    spread = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert found.low == pytest.approx(0.75 - spread, abs=0.01)
    assert found.high == pytest.approx(0.75 + spread, abs=0.01)


@pytest.mark.parametrize("predicted", [[0] * 30, [1] * 30])
def test_all_right_or_all_wrong_is_not_for_certain(predicted: list[int]) -> None:
    for seeds in (1, 3):
        found = mean_interval([0] * 30, [predicted] * seeds, 2, confusion_accuracy)
        wide = 1 - 0.025 ** (1 / 30)
        assert (found.low, found.high) == pytest.approx((1 - wide, 1) if not any(predicted) else (0, wide))


def test_an_interval_over_seeds_is_theirs_and_the_texts_together() -> None:
    gold = np.zeros(200, dtype=int)
    alike = np.array([[0] * 150 + [1] * 50] * 5)
    apart = np.array([[0] * right + [1] * (200 - right) for right in (110, 130, 150, 170, 190)])
    near, far = (mean_interval(gold, rows, 2, confusion_accuracy) for rows in (alike, apart))
    assert near.mean == far.mean == 0.75
    assert far.sd == pytest.approx(np.std([0.55, 0.65, 0.75, 0.85, 0.95], ddof=1))
    over_texts = 1.96 * (0.75 * 0.25 / 200) ** 0.5
    over_seeds = 2.776 * far.sd / 5**0.5
    assert near.mean - near.low == pytest.approx(over_texts, abs=0.01)
    assert far.mean - far.low == pytest.approx((over_seeds**2 + over_texts**2) ** 0.5, abs=0.01)
    assert far.high == pytest.approx(min(1.0, 0.75 + (over_seeds**2 + over_texts**2) ** 0.5), abs=0.01)
    assert mean_interval(gold, apart, 2, confusion_accuracy) == far


def test_a_paired_difference_is_that_of_seeds_and_texts_together() -> None:
    gains = [0.10, 0.06, 0.12, 0.08, 0.04]
    right_b = np.zeros((5, 50), dtype=bool)
    right_a = np.array([[True] * round(gain * 50) + [False] * (50 - round(gain * 50)) for gain in gains])
    found = paired_difference(right_a, right_b)
    over_seeds = 2.776 * np.std(gains, ddof=1) / 5**0.5
    by_text = np.append(right_a.mean(axis=0), [1, -1])
    over_texts = 2.0076 * np.std(by_text, ddof=1) / 52**0.5
    half = (over_seeds**2 + over_texts**2) ** 0.5
    assert found.mean == pytest.approx(0.08)
    assert [found.low, found.high] == pytest.approx([0.08 - half, 0.08 + half], abs=1e-4)
    assert found.p_value == pytest.approx(0.0925, abs=1e-3)  # the t-test over the seeds alone says 0.005
    assert difference_over_seeds(gains).p_value == pytest.approx(0.0048, abs=2e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("right_a", "right_b"),
    [
        ([[1], [0]], [[0], [0]]),
        ([[1, 0], [0, 0]], [[0, 0], [0, 0]]),
        ([[1, 0, 1], [0, 1, 1]], [[0, 0, 0], [0, 0, 0]]),  # the same gain in both, of other texts
        ([[1, 0], [0, 1]], [[0, 1], [1, 0]]),
    ],
)
def test_a_few_texts_and_two_seeds_are_compared(right_a: list[list[int]], right_b: list[list[int]]) -> None:
    found = paired_difference(right_a, right_b)
    assert found.low <= found.mean <= found.high
    assert 0.05 < found.p_value <= 1


def test_a_level_is_solved_for_however_small() -> None:
    right = np.zeros((2, 3, 4000), dtype=bool)
    right[0, :, :] = np.random.default_rng(3).random((3, 4000)) < 0.999
    found = paired_difference(*right)
    assert 1e-15 < found.p_value < 1e-6
    alike = np.zeros((2, 60, 4000), dtype=bool)
    alike[0, np.arange(60) % 2 == 0, :-1] = alike[0, np.arange(60) % 2 == 1, 1:] = True
    assert paired_difference(*alike).p_value == 1e-15


def test_many_texts_leave_the_t_interval_of_the_seeds() -> None:
    random = np.random.default_rng(0)
    accuracies = (0.60, 0.66, 0.72, 0.58, 0.70)
    right_a = np.array([random.random(200_000) < accuracy for accuracy in accuracies])
    right_b = random.random((5, 200_000)) < 0.55
    found, over_seeds = (
        paired_difference(right_a, right_b),
        difference_over_seeds(right_a.mean(1) - right_b.mean(1)),
    )
    assert [found.low, found.high] == pytest.approx([over_seeds.low, over_seeds.high], abs=2e-4)
    assert found.p_value == pytest.approx(over_seeds.p_value, rel=0.02)


def test_equally_good_methods_are_seldom_told_apart_by_the_same_few_texts() -> None:
    """Seeds that differ little are many of one and the same mistake: texts that happen to suit one method."""
    random, told_apart = np.random.default_rng(1), 0
    for _ in range(200):
        hard = random.normal(size=100)
        a, b = (hard + random.normal(scale=0.7, size=100) for _ in "ab")
        right_a = a + random.normal(scale=0.3, size=(5, 100)) > -0.6
        told_apart += paired_difference(right_a, np.stack([b > -0.6] * 5)).p_value < 0.05
    assert told_apart <= 20  # over the seeds alone: 116


def test_the_interval_ends_at_zero_where_the_test_says_so() -> None:
    random = np.random.default_rng(2)
    for n_texts in (30, 300):
        for accuracy in (0.55, 0.6, 0.65, 0.7, 0.8):
            right = random.random((2, 3, n_texts)) < np.array([accuracy, 0.5])[:, None, None]
            found = paired_difference(*right)
            assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


def test_a_difference_of_two_seeds_stays_within_what_is_possible() -> None:
    right_a = np.array([[True] * 50, [True] * 10 + [False] * 40])
    found = paired_difference(right_a, np.zeros((2, 50), dtype=bool))
    assert [found.mean, found.low, found.high] == pytest.approx([0.6, -1.0, 1.0])


def test_one_seed_is_compared_text_by_text() -> None:
    right_a = np.array([True] * 80 + [False] * 20)
    right_b = np.array([True] * 70 + [False] * 30)
    found = paired_difference(right_a, right_b)
    assert found.mean == pytest.approx(0.10)
    assert 0 < found.low < 0.10 < found.high < 0.20
    assert found.p_value == pytest.approx(2 * 0.5**10)


@pytest.mark.parametrize(("only_a", "only_b", "n_texts"), [(4, 0, 20), (4, 0, 100), (9, 2, 100), (3, 0, 3), (0, 5, 50)])
def test_an_interval_finds_nothing_that_the_test_does_not(only_a: int, only_b: int, n_texts: int) -> None:
    right_a = np.array([True] * only_a + [False] * only_b + [True] * (n_texts - only_a - only_b))
    right_b = np.array([False] * only_a + [True] * (n_texts - only_a))
    found = paired_difference(right_a, right_b)
    assert found.p_value > 0.05
    assert found.low < 0 < found.high


def test_equal_gains_in_all_seeds_do_not_pass_for_certain() -> None:
    right_a, right_b = np.array([True] * 2 + [False] * 98), np.array([True] * 1 + [False] * 99)
    found = paired_difference([right_a] * 3, [right_b] * 3)
    assert found == dataclasses.replace(paired_difference(right_a, right_b), n_seeds=3)
    assert found.mean == pytest.approx(0.01)
    assert found.p_value == 1
    assert difference_over_seeds([0.01, 0.01]) == Difference(0.01, -1, 1, 1, 2)
    # 0.04 both times, but for the last bit.
    assert difference_over_seeds([0.54 - 0.50, 0.57 - 0.53]) == Difference(0.04, -1, 1, 1, 2)
    assert difference_over_seeds([0.07] * 3) == Difference(0.07, -1, 1, 1, 3)


def test_methods_that_answer_alike_are_not_told_apart() -> None:
    right = np.array([True, False] * 20)
    found = paired_difference(right, right)
    assert (found.mean, found.p_value) == (0, 1)
    assert -found.low == found.high == pytest.approx(0.088, abs=1e-3)  # 1 - 0.025^(1/40)
    both = np.stack([right, right])
    assert paired_difference(both, both).p_value == 1


def test_mcnemar() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(10, 0) == mcnemar(0, 10) == pytest.approx(2 * 0.5**10)


@pytest.mark.parametrize("n_rare", [1, 2, 3])
def test_a_label_that_is_never_found_stays_in_the_mean_of_every_resample(n_rare: int) -> None:
    """Resamples without one of its texts had a macro-F1 of two labels, half as high again."""
    gold = [0] * 100 + [1] * (100 - n_rare) + [2] * n_rare
    predicted = [0] * 85 + [1] * 15 + [1] * (85 - n_rare) + [0] * 15 + [0] * n_rare
    found = mean_interval(gold, [predicted], 3, confusion_macro_f1)
    assert found.low > found.mean - 0.05
    assert found.high < found.mean + 0.05
    sure = mean_interval(gold, [gold], 3, confusion_macro_f1)
    assert sure.mean == sure.high == 1
