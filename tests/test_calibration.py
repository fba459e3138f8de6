from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handful.calibration import FloatArray, ShiftMethod, believed_shares, estimate_shift, label_probabilities, softmax


def pool_of(seed: int, n_rows: int = 40, n_labels: int = 4, bias: float = 3.0) -> FloatArray:
    chance = np.random.default_rng(seed)
    return chance.normal(size=(n_rows, n_labels)) * 2 + chance.normal(size=n_labels) * bias


def test_softmax_is_stable() -> None:
    assert softmax([[1e4, 1e4 + np.log(3)]]) == pytest.approx(np.array([[0.25, 0.75]]))
    assert softmax([-1e4, -1e4]) == pytest.approx([0.5, 0.5])


@given(st.integers(0, 10_000), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_match_gives_mean_probability_as_asked(seed: int, n_labels: int) -> None:
    pool = pool_of(seed, n_labels=n_labels)
    shares = np.random.default_rng(seed).dirichlet(np.ones(n_labels) * 5)
    for wanted in (None, shares):
        mean = label_probabilities(pool, estimate_shift(pool, "match", wanted)).mean(axis=0)
        assert mean == pytest.approx(np.full(n_labels, 1 / n_labels) if wanted is None else shares, abs=1e-5)


@pytest.mark.parametrize("method", ["none", "mean", "match"])
def test_constants_per_row_change_nothing(method: ShiftMethod) -> None:
    pool = pool_of(3)
    moved = pool + np.random.default_rng(1).normal(size=(len(pool), 1)) * 50
    assert estimate_shift(moved, method) == pytest.approx(estimate_shift(pool, method), abs=1e-8)
    assert label_probabilities(moved, [1, 2, 3, 4]) == pytest.approx(label_probabilities(pool, [1, 2, 3, 4]))


@pytest.mark.parametrize("method", ["mean", "match"])
def test_a_prior_is_taken_out_whole(method: ShiftMethod) -> None:
    pool, prior = pool_of(5, bias=0.0), np.array([3.0, 0.0, -1.0, -2.0])
    plain = label_probabilities(pool, estimate_shift(pool, method))
    biased = label_probabilities(pool + prior, estimate_shift(pool + prior, method))
    assert biased == pytest.approx(plain, abs=1e-6)


def test_one_sided_pool_becomes_uniform() -> None:
    pool = np.tile([0.0, -9.0, -2.0], (20, 1))
    assert pool.argmax(axis=1).sum() == 0
    for method in ("mean", "match"):
        probabilities = label_probabilities(pool, estimate_shift(pool, method))
        assert probabilities == pytest.approx(np.full((20, 3), 1 / 3), abs=1e-6)


def test_mean_is_the_mean_log_probability() -> None:
    pool = np.log([[0.5, 0.5], [0.9, 0.1]])
    means = np.log([[0.5, 0.5], [0.9, 0.1]]).mean(axis=0)
    assert estimate_shift(pool, "mean") == pytest.approx(means - means.mean())


@pytest.mark.parametrize("method", ["none", "mean", "match"])
def test_degenerate_pools(method: ShiftMethod) -> None:
    assert estimate_shift(np.empty((0, 3)), method) == pytest.approx([0, 0, 0])
    one = estimate_shift([[0.0, -3.0]], method)
    assert one == pytest.approx([0, 0] if method == "none" else [1.5, -1.5], abs=1e-6)
    never = np.array([[0.0, -1.0, -5000.0], [-1.0, 0.0, -6000.0]])
    shift = estimate_shift(never, method)
    assert np.isfinite(shift).all()
    assert shift.mean() == pytest.approx(0, abs=1e-6)
    probabilities = label_probabilities(never, shift)
    assert np.isfinite(probabilities).all()
    assert probabilities.sum(axis=1) == pytest.approx([1, 1])


def test_none_takes_out_nothing() -> None:
    pool = pool_of(1)
    assert label_probabilities(pool, estimate_shift(pool, "none")) == pytest.approx(softmax(pool))
    assert label_probabilities(pool) == pytest.approx(softmax(pool))


def test_a_never_probable_label_does_not_disturb_the_others() -> None:
    """The shift of a label nothing speaks for is bounded by rounding: the others keep their balance."""
    never = np.array([[0.0, -2.0, -5000.0], [-1.0, 0.0, -5000.0], [0.0, -3.0, -5000.0]])
    probabilities = label_probabilities(never, estimate_shift(never, "match"))
    balance = probabilities[:, :2].mean(axis=0)
    assert balance[0] == pytest.approx(balance[1], abs=1e-3)


def test_shares_are_believed_as_far_as_the_writer_did_as_asked() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    # Judges' shares 0.7 and 0.3, half asked for each; agreed 0.7, by chance 0.5: kappa 0.4.
    assert believed_shares(np.log(probabilities), [0, 0, 1, 1]) == pytest.approx([0.62, 0.38])
    certain = np.array([[0.0, -50.0], [-50.0, 0.0], [-50.0, 0.0]])
    assert believed_shares(certain, [0, 1, 1]) == pytest.approx([1 / 3, 2 / 3])
    # No better than chance: the judges' own.
    assert believed_shares(certain, [1, 0, 1]) == pytest.approx([1 / 3, 2 / 3])
    assert believed_shares([[0.0, -1.0]], [0]).sum() == pytest.approx(1)
