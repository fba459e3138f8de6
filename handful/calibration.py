"""From label log-probabilities to probabilities, with the LLM's label prior taken out.

An LLM favours some labels whatever the text says. The prior is estimated on texts it wrote itself, never on texts to
be predicted, and subtracted. Probabilities do not change if a constant is added to a row of log-probabilities, so
scores may be known up to one per text.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
ShiftMethod = Literal["none", "mean", "match"]


def softmax(log_probs: ArrayLike) -> FloatArray:
    """Normalise rows of log-probabilities, shape (n_texts, n_labels), to sum to 1."""
    values = np.asarray(log_probs, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    result: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return result


def label_probabilities(log_probs: ArrayLike, shift: ArrayLike | None = None) -> FloatArray:
    """Return calibrated probabilities: softmax of the log-probabilities less each label's shift.

    Args:
        log_probs: Nats, shape (n_texts, n_labels).
        shift: The prior to take out, nats, shape (n_labels,); None takes out nothing.
    """
    values = np.asarray(log_probs, dtype=np.float64)
    return softmax(values if shift is None else values - np.asarray(shift, dtype=np.float64))


def estimate_shift(log_probs: ArrayLike, method: ShiftMethod, target_shares: ArrayLike | None = None) -> FloatArray:
    """Estimate the label prior on a pool of texts.

    Args:
        log_probs: Nats, shape (n_pool, n_labels).
        method: `none` gives zeros. `mean` is the mean label log-probability over the pool (Jiang et al. 2023,
            "Generative Calibration", equation 4; Zhou et al. 2024 over a batch). `match` is the shift under which the
            mean probability over the pool equals `target_shares` (Liusie et al. 2023, prior matching): it is not
            ruled by the few texts the LLM is surest of.
        target_shares: What `match` aims at, shape (n_labels,), positive; None is uniform.

    Returns:
        Shift in nats, shape (n_labels,), with mean 0.
    """
    pool = np.atleast_2d(np.asarray(log_probs, dtype=np.float64))
    n_labels = pool.shape[1]
    shift = np.zeros(n_labels)
    if method == "mean" and len(pool):
        shift = np.log(softmax(pool) + 1e-300).mean(axis=0)
    elif method == "match" and len(pool):
        shares = np.full(n_labels, 1 / n_labels) if target_shares is None else np.asarray(target_shares, float)
        shift = _match(pool, shares / shares.sum())
    result: FloatArray = shift - shift.mean()
    return result


def believed_shares(log_probs: ArrayLike, asked: ArrayLike) -> FloatArray:
    """Return the label shares of written texts that judges' scores and what was asked for speak for together.

    The judges' own shares, moved towards the shares that were asked for by as much as the judges find that the writer
    did as it was asked (Cohen's kappa, with their probabilities in place of counts). Of texts that are mostly what was
    asked for, a surplus of one label is more likely the judges' leaning than the writer's.

    Args:
        log_probs: Of the judges, nats, shape (n_texts, n_labels).
        asked: Column of the label each text was asked for, shape (n_texts,).

    Returns:
        Shares, shape (n_labels,), that sum to 1.
    """
    probabilities, places = softmax(log_probs), np.asarray(asked)
    own = probabilities.mean(axis=0)
    wanted = np.bincount(places, minlength=len(own)) / len(places)
    agreed, by_chance = probabilities[np.arange(len(places)), places].mean(), float(own @ wanted)
    kappa = max(0.0, (agreed - by_chance) / (1 - by_chance)) if by_chance < 1 else 0.0
    result: FloatArray = (1 - kappa) * own + kappa * wanted
    return result


def _match(pool: FloatArray, shares: FloatArray, *, max_iterations: int = 500, tolerance: float = 1e-9) -> FloatArray:
    """Fixed point of the shift: each step moves a label by the log ratio of its mean probability to its share.

    The steps ascend a concave function of the shift, so there is one solution and no step size to choose.
    """
    shift = np.zeros(pool.shape[1])
    for _ in range(max_iterations):
        mean = label_probabilities(pool, shift).mean(axis=0)
        # The floor keeps finite what a label that no text of the pool gets any probability for is moved by.
        step = np.log(np.maximum(mean, 1e-12)) - np.log(np.maximum(shares, 1e-12))
        shift = shift + step
        if np.abs(step).max() < tolerance:
            break
    return shift
