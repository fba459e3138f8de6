from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from handful.llm import sampling as drawing
from handful.llm.protocol import Sampling
from handful.llm.sampling import Step

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 0.5, -6.0]])
STOP = torch.tensor([False, False, False, False, False, True])
NEVER = torch.zeros(6, dtype=torch.bool)


Rows = list[tuple[list[int], bool]]


def sample_rows(first: Tensor, step: Step, seeds: Sequence[int], sampling: Sampling, stop: Tensor) -> Rows:
    """Every seed continues the same prompt."""
    return drawing.sample_rows(first.expand(len(seeds), -1), step, seeds, sampling, stop)


def beam_sample_rows(first: Tensor, step: Step, seeds: Sequence[int], sampling: Sampling, stop: Tensor) -> Rows:
    """Every seed continues the same prompt."""
    return drawing.beam_sample_rows(first.expand(len(seeds), -1), step, seeds, sampling, stop)


def constant(tokens: Tensor, parents: Tensor) -> Tensor:
    return LOGITS.expand(len(tokens), -1)


def chained(tokens: Tensor, parents: Tensor) -> Tensor:
    """The next token's distribution is the first one's, turned by the token before."""
    return torch.stack([LOGITS[0].roll(int(token)) for token in tokens])


def tail(statistic: float, degrees: int) -> float:
    """Probability that a chi-square variable exceeds the statistic."""
    return float(torch.special.gammaincc(torch.tensor(degrees / 2.0).double(), torch.tensor(statistic / 2).double()))


def misfit(counts: Counter[int], expected: np.ndarray) -> float:
    """p-value of Pearson's test."""
    n = sum(counts.values())
    statistic = sum((counts[i] - n * p) ** 2 / (n * p) for i, p in enumerate(expected) if p > 0)
    assert all(expected[i] > 0 for i in counts)
    return tail(float(statistic), int((expected > 0).sum()) - 1)


def softmax(temperature: float, top_k: int) -> np.ndarray:
    values = LOGITS[0].numpy().astype(float) / temperature
    if 0 < top_k < len(values):
        values = np.where(values >= np.sort(values)[-top_k], values, -np.inf)
    powers = np.exp(values - values.max())
    shares: np.ndarray = powers / powers.sum()
    return shares


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (1.0, 3), (0.5, 0), (2.0, 4), (1.0, 50)])
def test_tokens_follow_the_softmax(temperature: float, top_k: int) -> None:
    n = 20_000
    rows = sample_rows(LOGITS, constant, range(n), Sampling(2, temperature, top_k), NEVER)
    for position in (0, 1):
        counts = Counter(ids[position] for ids, _ in rows)
        assert misfit(counts, softmax(temperature, top_k)) > 1e-4
    # The two draws of a text are independent.
    pairs = Counter(ids[0] * 6 + ids[1] for ids, _ in rows)
    shares = softmax(temperature, top_k)
    assert misfit(pairs, np.outer(shares, shares).ravel()) > 1e-4


def test_the_statistical_test_would_notice() -> None:
    rows = sample_rows(LOGITS, constant, range(20_000), Sampling(1, 1.1, 0), NEVER)
    assert misfit(Counter(ids[0] for ids, _ in rows), softmax(1.0, 0)) < 1e-4


def test_top_k_one_is_greedy() -> None:
    rows = sample_rows(LOGITS, chained, [1, 2, 3], Sampling(4, 1.0, 1), NEVER)
    assert [ids for ids, _ in rows] == [[0, 0, 0, 0]] * 3


@pytest.mark.parametrize("draw", [sample_rows, beam_sample_rows])
@pytest.mark.parametrize("beams", [1, 2, 3])
def test_rows_depend_on_their_seed_alone(draw: object, beams: int) -> None:
    assert callable(draw)
    if draw is sample_rows and beams > 1:
        pytest.skip("plain sampling has one beam")
    sampling, seeds = Sampling(8, 1.0, 0, beams), [4, 9, 2, 77, 5]
    together = draw(LOGITS, chained, seeds, sampling, STOP)
    assert [draw(LOGITS, chained, [seed], sampling, STOP)[0] for seed in seeds] == together
    assert draw(LOGITS, chained, seeds[::-1], sampling, STOP) == together[::-1]


def test_rows_end_at_the_stop_token_or_the_limit() -> None:
    often = torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.5]])
    asked: list[int] = []

    def step(tokens: Tensor, parents: Tensor) -> Tensor:
        asked.append(len(tokens))
        assert not STOP[tokens].any()
        return often.expand(len(tokens), -1)

    rows = sample_rows(often, step, range(400), Sampling(5, 1.0, 0), STOP)
    for ids, finished in rows:
        assert finished == (ids[-1] == 5)
        assert 5 not in ids[:-1]
        assert finished or len(ids) == 5
    assert asked == sorted(asked, reverse=True)
    assert len(asked) == 4
    stopped_first = sum(len(ids) == 1 for ids, _ in rows)
    assert asked[0] == 400 - stopped_first


def test_beams_draw_distinct_noise_per_seed() -> None:
    rows = beam_sample_rows(LOGITS, chained, range(200), Sampling(6, 1.0, 0, 2), NEVER)
    assert len({tuple(ids) for ids, _ in rows}) > 60
    again = beam_sample_rows(LOGITS, chained, range(200), Sampling(6, 1.0, 0, 2), NEVER)
    assert again == rows


def total(ids: list[int]) -> float:
    score, logits = 0.0, LOGITS[0]
    for token in ids:
        score += float(logits.log_softmax(-1)[token])
        logits = LOGITS[0].roll(token)
    return score


def test_more_beams_write_likelier_texts() -> None:
    means = [
        np.mean([total(ids) for ids, _ in beam_sample_rows(LOGITS, chained, range(300), Sampling(5, 1.0, 0, b), NEVER)])
        for b in (1, 2, 4)
    ]
    assert means[0] < means[1] < means[2]


def test_one_step_of_two_beams_follows_gumbel_top_k() -> None:
    """Two tokens are drawn without replacement; the likelier of them is returned."""
    n, shares = 8_000, softmax(1.0, 0)
    rows = beam_sample_rows(LOGITS, chained, range(n), Sampling(1, 1.0, 0, 2), NEVER)
    expected = np.zeros(6)
    for a in range(6):
        for b in range(6):
            if a != b:
                expected[max(a, b, key=lambda token: shares[token])] += shares[a] * shares[b] / (1 - shares[a])
    counts = Counter(ids[0] for ids, _ in rows)
    assert set(counts) <= set(np.flatnonzero(expected > 0))
    keep = expected > 1e-3
    statistic = sum((counts[int(i)] - n * expected[i]) ** 2 / (n * expected[i]) for i in np.flatnonzero(keep))
    assert tail(float(statistic), int(keep.sum()) - 1) > 1e-4


def test_beams_get_the_parents_they_ask_for() -> None:
    """A step sees each live continuation's own last token and the row it continues."""
    alive: list[list[int]] = []

    def step(tokens: Tensor, parents: Tensor) -> Tensor:
        nonlocal alive
        before = alive or [[] for _ in range(int(parents.max()) + 1)]
        alive = [[*before[int(p)], int(t)] for t, p in zip(tokens, parents, strict=True)]
        return torch.stack([LOGITS[0].roll(sum(row)) for row in alive])

    rows = beam_sample_rows(LOGITS, step, [3, 8], Sampling(5, 1.0, 0, 3), NEVER)
    for ids, finished in rows:
        assert not finished
        assert ids[:-1] in alive
        assert math.isfinite(total(ids))


@pytest.mark.parametrize("draw", [drawing.sample_rows, drawing.beam_sample_rows])
@pytest.mark.parametrize("beams", [1, 2])
def test_suppressed_tokens_stay_away_from_their_own_texts_alone(draw: object, beams: int) -> None:
    if draw is drawing.sample_rows and beams > 1:
        pytest.skip("plain sampling has one beam")
    penalties = torch.zeros(2, 6)
    penalties[1, :2] = 100.0
    suppressed = drawing.Suppressed(penalties, torch.tensor([0, 1, 0, 1]))
    assert callable(draw)
    rows = draw(LOGITS.expand(4, -1), constant, [7, 7, 8, 8], Sampling(30, 1.0, 0, beams), NEVER, suppressed)
    free = draw(LOGITS.expand(4, -1), constant, [7, 7, 8, 8], Sampling(30, 1.0, 0, beams), NEVER)
    assert [rows[0], rows[2]] == [free[0], free[2]]
    for ids, _ in (rows[1], rows[3]):
        assert not set(ids) & {0, 1}
