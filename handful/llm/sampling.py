"""Drawing tokens so that each text depends on its own seed alone, however the texts are batched.

A text's random numbers are drawn up front from its seed; a step turns them into a token by inverting the cumulative
distribution over the top-k tokens. Only the k best logits are ever sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from handful.llm.protocol import Sampling
from handful.seeding import array_stream

_RUN = 64
"""Neighbouring tokens looked at together when the top k are found."""
_CROWDED = 0.875
"""Rows that have stopped leave the batch when they are more than an eighth of it: to leave, all others are copied."""

Step = Callable[[Tensor, Tensor], Tensor]
"""(tokens (B,), rows of the previous step that they continue (B,)) -> next logits (B, V)."""


@dataclass(frozen=True)
class Suppressed:
    """What is taken from the logits of tokens that should become less likely."""

    penalties: Tensor
    """A row per group of texts, shape (n_groups, V)."""
    owners: Tensor
    """Each text's group, shape (n_texts,)."""

    def __call__(self, logits: Tensor, texts: Tensor) -> Tensor:
        """Return logits (B, V) of these texts (B,), lowered."""
        return logits - self.penalties[self.owners[texts]]


def sample_rows(
    first_logits: Tensor,
    step: Step,
    seeds: Sequence[int],
    sampling: Sampling,
    stop: Tensor,
    suppressed: Suppressed | None = None,
) -> list[tuple[list[int], bool]]:
    """Sample one continuation per seed.

    Args:
        first_logits: Logits after each one's prompt, shape (n_seeds, V).
        step: Advances the model; most rows that have stopped are no longer among those it gets.
        seeds: One per continuation.
        sampling: Temperature, top_k and the token limit.
        stop: Tokens that end a continuation, bool, shape (V,).
        suppressed: What to take from the logits.

    Returns:
        Per seed the token ids (the stop token included) and whether it stopped by itself.
    """
    limit = sampling.max_new_tokens
    uniform = torch.from_numpy(np.stack([array_stream(seed, "tokens").random(limit) for seed in seeds]))  # (n, T)
    written: list[list[int]] = [[] for _ in seeds]
    texts = torch.arange(len(seeds))  # which text each row of the batch belongs to
    going = torch.ones(len(seeds), dtype=torch.bool)
    logits = first_logits
    for position in range(limit):
        if suppressed is not None:
            logits = suppressed(logits, texts)
        tokens = _draw(logits, uniform[texts, position], sampling)
        for text, token in zip(texts[going].tolist(), tokens[going].tolist(), strict=True):
            written[text].append(token)
        going &= ~stop[tokens].cpu()
        if not going.any() or position + 1 == limit:
            break
        rows = torch.arange(len(texts))
        if int(going.sum()) <= _CROWDED * len(texts):
            rows = going.nonzero().squeeze(-1)
            texts, going = texts[rows], going[rows]
        logits = step(tokens[rows], rows)
    unfinished = set(texts[going].tolist())
    return [(ids, text not in unfinished) for text, ids in enumerate(written)]


def _log_probs(logits: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and ids of the top-k tokens, both (B, k), likeliest first."""
    k = sampling.top_k if 0 < sampling.top_k < logits.shape[-1] else logits.shape[-1]
    values, ids = _top_k(logits.float(), k)
    return (values / sampling.temperature).log_softmax(-1), ids


def _top_k(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest logits and their ids, both (B, k), largest first.

    The k largest of a row lie in the k runs of neighbours with the largest maxima: only those runs are sorted.
    """
    n_runs = logits.shape[-1] // _RUN
    if n_runs * _RUN != logits.shape[-1] or k * 4 > n_runs:
        values, ids = logits.topk(k, dim=-1)
        return values, ids
    runs = logits.view(len(logits), n_runs, _RUN)
    best = runs.amax(-1).topk(k, dim=-1, sorted=False).indices  # (B, k)
    within = runs.gather(1, best[..., None].expand(-1, -1, _RUN)).flatten(1)
    values, places = within.topk(k, dim=-1)
    return values, best.gather(1, places // _RUN) * _RUN + places % _RUN


def _draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    log_probs, ids = _log_probs(logits, sampling)
    cumulative = log_probs.cpu().double().exp().cumsum(-1)  # Apple's GPUs have no double
    chosen = (cumulative < uniform[:, None] * cumulative[:, -1:]).sum(-1).clamp(max=ids.shape[-1] - 1)
    return ids.gather(-1, chosen.to(ids.device)[:, None]).squeeze(-1)


@dataclass
class _Beams:
    """The unfinished continuations of one text, and the finished ones found so far."""

    ids: list[list[int]]
    scores: list[float]
    rows: list[int]
    finished: list[tuple[float, list[int]]] = field(default_factory=list)


def beam_sample_rows(
    first_logits: Tensor,
    step: Step,
    seeds: Sequence[int],
    sampling: Sampling,
    stop: Tensor,
    suppressed: Suppressed | None = None,
) -> list[tuple[list[int], bool]]:
    """Beam-sampling: each text keeps `num_beams` continuations, drawn without replacement by Gumbel-top-k.

    The best by mean token log-probability is returned. Arguments and result as in `sample_rows`.

    Reference: Kool et al. 2019, "Stochastic Beams and Where to Find Them", section 3.1 (Gumbel-top-k sampling).
    """
    width = sampling.num_beams
    noise = [array_stream(seed, "beams") for seed in seeds]
    texts = [_Beams(ids=[[]], scores=[0.0], rows=[index]) for index in range(len(seeds))]
    logits = first_logits
    for position in range(sampling.max_new_tokens):
        if suppressed is not None:
            logits = suppressed(logits, torch.tensor([index for index, text in enumerate(texts) for _ in text.rows]))
        log_probs, ids = (part.cpu().numpy() for part in _log_probs(logits, sampling))
        for text, generator in zip(texts, noise, strict=True):
            if text.rows:
                _extend(text, log_probs, ids, generator, stop, width)
        parents = [row for text in texts for row in text.rows]
        if not parents or position + 1 == sampling.max_new_tokens:
            break
        tokens = [ids_[-1] for text in texts for ids_ in text.ids]
        row = 0
        for text in texts:
            text.rows = list(range(row, row + len(text.rows)))
            row += len(text.rows)
        logits = step(torch.tensor(tokens, device=first_logits.device), torch.tensor(parents))
    return [_best(text) for text in texts]


def _extend(
    text: _Beams,
    log_probs: np.ndarray,
    ids: np.ndarray,
    generator: np.random.Generator,
    stop: Tensor,
    width: int,
) -> None:
    totals = np.array(text.scores)[:, None] + log_probs[text.rows]  # (beams, k)
    perturbed = totals + generator.gumbel(size=totals.shape)
    order = np.argsort(-perturbed, axis=None, kind="stable")[: 2 * width]
    kept_ids: list[list[int]] = []
    kept_scores: list[float] = []
    kept_rows: list[int] = []
    for flat in order:
        beam, column = divmod(int(flat), totals.shape[1])
        token = int(ids[text.rows[beam], column])
        continued = [*text.ids[beam], token]
        if bool(stop[token]):
            text.finished.append((float(totals[beam, column]) / len(continued), continued))
        elif len(kept_ids) < width:
            kept_ids.append(continued)
            kept_scores.append(float(totals[beam, column]))
            kept_rows.append(text.rows[beam])
    done = len(text.finished) >= width
    text.ids, text.scores, text.rows = (kept_ids, kept_scores, [] if done else kept_rows)
    if done:
        text.ids, text.scores = [], []


def _best(text: _Beams) -> tuple[list[int], bool]:
    if text.finished:
        return max(text.finished)[1], True
    best = max(range(len(text.ids)), key=lambda index: text.scores[index])
    return text.ids[best], False
