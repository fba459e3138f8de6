"""Attention over a prefix that is stored once for all rows, merged with each row's own tokens by log-sum-exp.

The usual way expands the prefix's keys and values to the batch and copies them at every step; at 64 rows and a prefix
of 500 tokens that is 1.5 GB for SmolLM2-135M. Here the queries of all rows are folded into one matrix against the one
copy (Juravsky et al. 2024, "Hydragen", section 3.2). CPU only: it needs the log-sum-exp the CPU flash kernel returns.
Only where rows are read behind a short prefix are its states copied, layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from handful.llm.decoder import Heads

LayerStates = tuple[Tensor, Tensor]
"""Keys and values of one layer, each (1, n_kv_heads, n_tokens, head_dim)."""
_GROWTH_TOKENS = 16
_COPIED_TOKENS = 160
"""A prefix up to this long is read faster if it is copied to every row: one softmax, and products of one kind."""


@dataclass(frozen=True)
class Prefix:
    """A computed prompt prefix."""

    n_tokens: int
    layers: tuple[LayerStates, ...]
    last_hidden: Tensor
    """Hidden state at its last position, shape (1, D)."""


@dataclass
class Opening:
    """Attention of a prefix to itself, whose keys and values are kept."""

    heads: Heads
    layers: list[LayerStates] = field(default_factory=list)

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """See `decoder.Attend`."""
        query, key, value = (part.transpose(0, 1)[None] for part in self.heads.split(qkv))
        self.layers.append((key.contiguous(), value.contiguous()))
        output, _ = _over_own(query, key, value, None)
        return output.transpose(1, 2).reshape(len(qkv), -1)


@dataclass(frozen=True)
class Reading:
    """Attention of rows to one prefix and to themselves: padded here alone, everything else is done per token."""

    heads: Heads
    prefix: Prefix
    n_rows: int
    n_queries: int
    mask: Tensor | None = None
    """Which own token sees which, bool, shape (B, 1, Q, Q); None is causal."""
    places: Tensor | None = None
    """Which of the tokens stands at each padded place, shape (B * Q,); None where nothing is padded."""
    slots: Tensor | None = None
    """At which padded place each token stands, shape (T,)."""

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """See `decoder.Attend`."""
        padded = qkv if self.places is None else qkv.index_select(0, self.places)
        rows = padded.view(self.n_rows, -1, *qkv.shape[1:])
        query, key, value = (part.transpose(1, 2) for part in self.heads.split(rows))
        states = self.prefix.layers[layer]
        if self.prefix.n_tokens <= _COPIED_TOKENS:
            output = self._behind_copies(query, key, value, states)
        else:
            own, own_lse = _over_own(query, key, value, self.mask)
            output = _merged(query, own, own_lse, states)
        outputs = output.transpose(1, 2).reshape(len(padded), -1)
        return outputs if self.slots is None else outputs.index_select(0, self.slots)

    def _behind_copies(self, query: Tensor, key: Tensor, value: Tensor, states: LayerStates) -> Tensor:
        """Attend to both at once; the heads of a group are queries against the same keys."""
        n_rows, n_kv_heads, _, head_dim = key.shape
        keys, values = (
            torch.cat([prefix.expand(n_rows, -1, -1, -1), own], dim=2).flatten(0, 1)
            for prefix, own in zip(states, (key, value), strict=True)
        )
        folded = query.reshape(n_rows * n_kv_heads, -1, head_dim)
        scores = torch.baddbmm(self._bias, folded, keys.transpose(1, 2), alpha=1 / math.sqrt(head_dim))
        return torch.bmm(scores.softmax(-1), values).view(query.shape)

    @cached_property
    def _bias(self) -> Tensor:
        """0 where a query sees a key, else -inf, shape (1 or B * H_kv, H / H_kv * Q, P + Q)."""
        visible = self.mask
        if visible is None:
            visible = torch.ones(1, 1, self.n_queries, self.n_queries, dtype=torch.bool).tril()
        own = torch.zeros(visible.shape).masked_fill_(~visible, float("-inf"))
        bias = torch.cat([own.new_zeros(*own.shape[:3], self.prefix.n_tokens), own], dim=3)
        bias = bias.expand(-1, self.heads.n_heads // self.heads.n_kv_heads, -1, -1).flatten(1, 2)
        return bias if len(bias) == 1 else bias.repeat_interleave(self.heads.n_kv_heads, 0)


@dataclass
class Writing:
    """Attention of rows that grow by one token a step, to their prefixes and to what each has written."""

    heads: Heads
    prefixes: Sequence[tuple[Prefix, int]]
    """In row order, each with its number of rows."""
    caches: list[RowCache]

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """See `decoder.Attend`."""
        query, key, value = (part[:, :, None] for part in self.heads.split(qkv))  # (B, heads, 1, d)
        keys, values = self.caches[layer].append(key, value)
        # The heads of a group are queries against the same keys.
        folded = query.reshape(len(qkv), self.heads.n_kv_heads, -1, self.heads.head_dim)
        own, own_lse = flash(folded, keys, values)
        own, own_lse = own.reshape(query.shape), own_lse.reshape(query.shape[:3])
        parts, start = [], 0
        for prefix, count in self.prefixes:
            rows = slice(start, start + count)
            parts.append(_merged(query[rows], own[rows], own_lse[rows], prefix.layers[layer]))
            start += count
        return torch.cat(parts).reshape(len(qkv), -1)


@dataclass
class RowCache:
    """One layer's keys and values of the rows' own tokens, in a buffer that is written in place and grows now and then.

    Rows end early, so a buffer of the full length for all of them would be mostly empty.
    """

    states: Tensor | None = None
    """Keys and values, shape (2, B, n_kv_heads, room, head_dim)."""
    n_tokens: int = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write new tokens, each (B, n_kv_heads, n, d), behind the old ones and return views of all of them."""
        end = self.n_tokens + key.shape[2]
        room = 0 if self.states is None else self.states.shape[3]
        if end > room:
            more = key.new_empty(2, *key.shape[:2], max(_GROWTH_TOKENS, key.shape[2]), key.shape[3])
            self.states = more if self.states is None else torch.cat([self.states, more], dim=3)
        assert self.states is not None
        self.states[0, :, :, self.n_tokens : end] = key
        self.states[1, :, :, self.n_tokens : end] = value
        self.n_tokens = end
        return self.states[0, :, :, :end], self.states[1, :, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep these rows, in this order."""
        if self.states is not None:
            self.states = self.states.index_select(1, rows)


def flash(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the outputs (B, H, Q, d) and the log-sum-exp of the scores (B, H, Q); CPU only."""
    output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, attn_mask=bias
    )
    return output, lse


def _over_own(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    group = query.shape[1] // key.shape[1]
    keys, values = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    bias = None
    if mask is not None:
        bias = torch.zeros(mask.shape, dtype=query.dtype).masked_fill_(~mask, float("-inf"))
    return flash(query, keys, values, causal=mask is None, bias=bias)


def _merged(query: Tensor, own: Tensor, own_lse: Tensor, states: LayerStates) -> Tensor:
    """Merge what the rows attend to among their own tokens, (B, H, Q, d), with their attention to one prefix."""
    keys, values = states
    n_rows, n_heads, n_queries, head_dim = query.shape
    shape = (keys.shape[1], n_rows, n_heads // keys.shape[1], n_queries)
    folded = query.reshape(n_rows, shape[0], shape[2], n_queries, head_dim).transpose(0, 1)
    output, lse = flash(folded.reshape(1, shape[0], -1, head_dim), keys, values)
    output = output.reshape(*shape, head_dim).transpose(0, 1).reshape(query.shape)
    lse = lse.reshape(shape).transpose(0, 1).reshape(n_rows, n_heads, n_queries)
    share = torch.sigmoid(lse - own_lse).unsqueeze(-1)  # e^a / (e^a + e^b)
    return torch.lerp(own, output, share)
