"""Attention of a packed training row, with gradients: each example sees the shared prefix and itself.

A dense mask over the packed row would multiply every example with every other: for eight news articles six times what
is needed. Here the prefix and the examples stand side by side for the attention alone, padded, each example behind the
one copy of the prefix's keys and values.
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
    """Attention within one packed row of T tokens, P of them a shared prefix; made by `tree_attention`.

    R rows (the prefix, if there is one, and the examples) of L padded places, each seeing K = P + L keys. Indices count
    heads of tokens: token t's head h of the queries, keys and values is t * (H + 2 H_kv) + h.
    """

    heads: Heads
    n_prefix: int
    queries: Tensor
    """Which query stands at each place, shape (R * H * L,); padding repeats a row's last token."""
    keys: Tensor
    """Which key a row sees, shape (R * H_kv * K,)."""
    outputs: Tensor
    """At which place each query stands, shape (T * H,)."""
    own_keys: Tensor
    """At which place each key behind the prefix stands, shape ((T - P) * H_kv,)."""
    bias: Tensor
    """0 where a query sees a key, else -inf, shape (R * H_kv, H / H_kv * L, K)."""

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """See `decoder.Attend`."""
        attended: Tensor = _TreeAttention.apply(qkv, self)  # type: ignore[no-untyped-call]
        return attended


def tree_attention(heads: Heads, packed: Packed) -> TreeAttention:
    """Lay out a packed row for its attention."""
    n_prefix = int((packed.owners < 0).sum())
    row_of = packed.owners + int(n_prefix > 0)  # (T,)
    lengths = row_of.bincount()
    starts = lengths.cumsum(0) - lengths
    n_rows, length = len(lengths), int(lengths.max())
    place = torch.arange(length)
    tokens = starts[:, None] + torch.minimum(place, lengths[:, None] - 1)  # (R, L)
    exists = place < lengths[:, None]
    own = exists & (torch.arange(n_rows) >= int(n_prefix > 0))[:, None]  # the prefix's row has no keys behind it
    seen = torch.cat([torch.arange(n_prefix).expand(n_rows, -1), tokens], dim=1)  # (R, K)
    visible = torch.cat([torch.ones(n_rows, n_prefix, dtype=torch.bool), own], dim=1)
    allowed = packed.mask[0, 0][tokens[:, :, None], seen[:, None]] & visible[:, None]  # (R, L, K)
    # Padding sees something, so that its softmax is a number; nobody reads it.
    allowed[:, :, 0] |= ~exists
    bias = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
    n_kinds = heads.n_heads + 2 * heads.n_kv_heads
    query_heads, key_heads = torch.arange(heads.n_heads), torch.arange(heads.n_kv_heads)
    rows, places = row_of[:, None], (torch.arange(len(row_of)) - starts[row_of])[:, None]
    n_keys = seen.shape[1]
    own_keys = (rows * heads.n_kv_heads + key_heads) * n_keys + n_prefix + places
    return TreeAttention(
        heads=heads,
        n_prefix=n_prefix,
        queries=(tokens[:, None] * n_kinds + query_heads[:, None]).flatten(),
        keys=(seen[:, None] * n_kinds + heads.n_heads + key_heads[:, None]).flatten(),
        outputs=((rows * heads.n_heads + query_heads) * length + places).flatten(),
        own_keys=own_keys[n_prefix:].flatten(),
        bias=bias[:, None].repeat(1, heads.n_heads, 1, 1).view(n_rows * heads.n_kv_heads, -1, n_keys),
    )


class _TreeAttention(Function):
    """Softmax attention; the heads of a group are queries against the same keys."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, layout: TreeAttention) -> Tensor:
        n_groups, n_queries, n_keys = layout.bias.shape
        flat = qkv.view(-1, qkv.shape[-1])
        query = flat.index_select(0, layout.queries).view(n_groups, n_queries, -1)
        key = flat.index_select(0, layout.keys).view(n_groups, n_keys, -1)
        value = flat.index_select(0, layout.keys + layout.heads.n_kv_heads).view(n_groups, n_keys, -1)
        scores = torch.baddbmm(layout.bias, query, key.transpose(1, 2), alpha=_scale(layout))
        weights = scores.softmax(-1)
        ctx.save_for_backward(query, key, value, weights)
        ctx.layout = layout
        attended = torch.bmm(weights, value).view(-1, qkv.shape[-1])
        return attended.index_select(0, layout.outputs).view(len(qkv), -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        query, key, value, weights = ctx.saved_tensors
        layout: TreeAttention = ctx.layout
        dim = query.shape[-1]
        grad = torch.zeros_like(query)
        grad.view(-1, dim).index_copy_(0, layout.outputs, grads[0].reshape(-1, dim))
        grad_weights = torch.bmm(grad, value.transpose(1, 2))
        grad_value = torch.bmm(weights.transpose(1, 2), grad)
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_query = torch.bmm(grad_scores, key)
        grad_key = torch.bmm(grad_scores.transpose(1, 2), query)
        heads = layout.heads
        result = query.new_empty(len(grads[0]), heads.n_heads + 2 * heads.n_kv_heads, dim)
        to_query, to_key, to_value = heads.split(result)
        torch.mul(
            grad_query.view(-1, dim).index_select(0, layout.outputs).view(to_query.shape), _scale(layout), out=to_query
        )
        torch.mul(_to_tokens(grad_key, layout), _scale(layout), out=to_key)
        to_value.copy_(_to_tokens(grad_value, layout))
        return result, None


def _scale(layout: TreeAttention) -> float:
    return 1 / math.sqrt(layout.heads.head_dim)


def _to_tokens(grad: Tensor, layout: TreeAttention) -> Tensor:
    """Bring the gradient of the keys or values from the rows to the tokens, (T, H_kv, d): a prefix's rows add up."""
    n_kv_heads, dim = layout.heads.n_kv_heads, grad.shape[-1]
    own = grad.view(-1, dim).index_select(0, layout.own_keys).view(-1, n_kv_heads, dim)
    prefix = grad.view(-1, n_kv_heads, *grad.shape[1:])[:, :, : layout.n_prefix].sum(0).transpose(0, 1)
    return torch.cat([prefix, own])
