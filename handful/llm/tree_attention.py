"""Attention of a packed training row, with gradients: each example sees the shared prefix and itself.

A dense mask over the packed row would multiply every example with every other: for eight news articles six times what
is needed. Here the examples stand side by side for the attention alone, padded, behind one copy of the prefix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from handful.llm.decoder import Heads
from handful.llm.packing import Packed


@dataclass(frozen=True)
class TreeAttention:
    """Attention within one packed row; made by `tree_attention`."""

    heads: Heads
    n_prefix: int
    places: Tensor
    """Which own token stands at each padded place, shape (B * L,); padding repeats the example's last token."""
    slots: Tensor
    """At which padded place each own token stands, shape (T - P,)."""
    prefix_bias: Tensor
    """0 where a prefix token sees another, -inf elsewhere, shape (1, 1, P, P)."""
    bias: Tensor
    """The same for own tokens and what they see, shape (B, 1, L, P + L)."""

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """See `decoder.Attend`."""
        prefix, own = qkv[: self.n_prefix], qkv[self.n_prefix :]
        rows: Tensor = _Placed.apply(own, self.places, self.slots)  # type: ignore[no-untyped-call]
        query, key, value = self.heads.split(rows.view(len(self.bias), -1, *qkv.shape[1:]))
        if not self.n_prefix:
            return self._taken(_attend(query, key, value, self.bias))
        first_query, first_key, first_value = (part[None] for part in self.heads.split(prefix))
        keys = torch.cat([first_key.expand(len(key), -1, -1, -1), key], dim=1)
        values = torch.cat([first_value.expand(len(value), -1, -1, -1), value], dim=1)
        own_output = self._taken(_attend(query, keys, values, self.bias))
        return torch.cat([_attend(first_query, first_key, first_value, self.prefix_bias)[0], own_output])

    def _taken(self, outputs: Tensor) -> Tensor:
        taken: Tensor = _Taken.apply(outputs.flatten(0, 1), self.slots)  # type: ignore[no-untyped-call]
        return taken


def tree_attention(heads: Heads, packed: Packed) -> TreeAttention:
    """Lay out the examples of a packed row side by side."""
    owners = packed.owners
    n_prefix = int((owners < 0).sum())
    lengths = owners[n_prefix:].bincount()
    starts = n_prefix + lengths.cumsum(0) - lengths
    place = torch.arange(int(lengths.max()))
    real = place < lengths[:, None]  # (B, L)
    tokens = starts[:, None] + torch.minimum(place, lengths[:, None] - 1)  # (B, L), into the packed row
    seen = torch.cat([torch.arange(n_prefix).expand(len(lengths), -1), tokens], dim=1)  # (B, P + L)
    exists = torch.cat([torch.ones(len(lengths), n_prefix, dtype=torch.bool), real], dim=1)
    mask = packed.mask[0, 0]
    allowed = mask[tokens[:, :, None], seen[:, None]] & exists[:, None]
    # Padding sees something, so that its softmax is a number; nobody reads it.
    allowed[:, :, 0] |= ~real
    return TreeAttention(
        heads=heads,
        n_prefix=n_prefix,
        places=(tokens - n_prefix).flatten(),
        slots=real.flatten().nonzero().squeeze(-1),
        prefix_bias=_bias(mask[None, None, :n_prefix, :n_prefix]),
        bias=_bias(allowed[:, None]),
    )


def _bias(allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend with query (B, L, H, d) to key and value (B, K, H_kv, d); returns (B, L, H d)."""
    n_rows, length, n_heads, head_dim = query.shape
    n_kv_heads = key.shape[2]
    shape = (n_rows, length, n_kv_heads, n_heads // n_kv_heads, head_dim)
    # The heads of a group are queries against the same keys.
    folded = query.reshape(shape).permute(0, 2, 3, 1, 4).reshape(n_rows, n_kv_heads, -1, head_dim)
    scores = (folded * (1 / math.sqrt(head_dim))) @ key.permute(0, 2, 3, 1)  # (B, H_kv, group * L, K)
    scores = scores.view(n_rows, n_kv_heads, shape[3], length, -1) + bias[:, :, None]
    outputs = scores.softmax(-1).view(n_rows, n_kv_heads, -1, key.shape[1]) @ value.transpose(1, 2)
    return outputs.view(n_rows, n_kv_heads, shape[3], length, head_dim).permute(0, 3, 1, 2, 4).reshape(*shape[:2], -1)


class _Placed(Function):
    """Tokens to padded places. No gradient comes back from padding, which nobody sees."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, places: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        return tokens.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0].index_select(0, ctx.saved_tensors[0]), None, None


class _Taken(Function):
    """Padded places back to tokens."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.n_rows = len(rows)
        return rows.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        whole = grads[0].new_zeros(ctx.n_rows, *grads[0].shape[1:])
        return whole.index_copy_(0, ctx.saved_tensors[0], grads[0]), None
