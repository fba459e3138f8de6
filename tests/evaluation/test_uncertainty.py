from __future__ import annotations

import numpy as np
import pytest

from handful.evaluation.metrics import confusion_accuracy
from handful.evaluation.uncertainty import bootstrap, mcnemar, paired_difference


def test_bootstrap_of_one_seed_is_as_wide_as_the_binomial() -> None:
    gold = np.zeros(400, dtype=int)
    predicted = np.array([0] * 300 + [1] * 100)
    found = bootstrap(gold, predicted, 2, confusion_accuracy)
    assert (found.mean, found.sd, found.n_seeds) == (0.75, 0.0, 1)
    spread = 1.96 * (0.75 * 0.25 / 400) ** 0.5
    assert found.low == pytest.approx(0.75 - spread, abs=0.01)
    assert found.high == pytest.approx(0.75 + spread, abs=0.01)


def test_bootstrap_over_seeds_widens_with_their_spread() -> None:
    gold = np.zeros(200, dtype=int)
    alike = np.array([[0] * 150 + [1] * 50] * 5)
    apart = np.array([[0] * right + [1] * (200 - right) for right in (110, 130, 150, 170, 190)])
    near, far = (bootstrap(gold, rows, 2, confusion_accuracy) for rows in (alike, apart))
    assert near.mean == far.mean == 0.75
    assert far.sd == pytest.approx(np.std([0.55, 0.65, 0.75, 0.85, 0.95], ddof=1))
    assert far.high - far.low > 1.5 * (near.high - near.low)
    assert bootstrap(gold, apart, 2, confusion_accuracy) == far


def test_a_paired_difference_over_seeds_is_the_t_interval() -> None:
    gains = [0.10, 0.06, 0.12, 0.08, 0.04]
    right_b = np.zeros((5, 50), dtype=bool)
    right_a = np.array([[True] * round(gain * 50) + [False] * (50 - round(gain * 50)) for gain in gains])
    found = paired_difference(right_a, right_b)
    half = 2.776 * np.std(gains, ddof=1) / 5**0.5
    assert found.mean == pytest.approx(0.08)
    assert [found.low, found.high] == pytest.approx([0.08 - half, 0.08 + half], abs=1e-4)
    assert found.p_value == pytest.approx(0.0048, abs=2e-4)


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


def test_methods_that_answer_alike_are_not_told_apart() -> None:
    right = np.array([True, False] * 20)
    assert paired_difference(right, right) == paired_difference(right, right)
    assert paired_difference(right, right).p_value == 1
    both = np.stack([right, right])
    assert paired_difference(both, both).p_value == 1


def test_mcnemar() -> None:
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(10, 0) == mcnemar(0, 10) == pytest.approx(2 * 0.5**10)
