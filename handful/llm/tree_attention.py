"""Attention of a packed training row, with gradients: each example sees the shared prefix and itself.

A dense mask over the packed row would multiply every example with every other: for eight news articles six times what
is needed. Here the examples stand side by side for the attention alone, padded, each behind the one copy of the
prefix's keys and values; the prefix, which can be many times as long as an example, attends to itself apart from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from handful.llm.decoder import Attend, Heads
from handful.llm.merged_attention import merged_attention
from handful.llm.packing import Packed
from handful.llm.protocol import Precision

_MOST_BYTES_KEPT = 32 << 20
"""Of the weights, a layer: judges of the paper's sets have 18 MB at most, of fifty labels 90 MB."""


@dataclass(frozen=True)
class _Block:
    """R rows of L padded places, each seeing K = P + L keys: P tokens shared by all rows, and its own.

    Indices count heads of tokens: token t's head h of the queries, keys and values is t * (H + 2 H_kv) + h.
    """

    tokens: slice
    """Which tokens of the packed row these are."""
    n_shared: int
    """P; the first tokens of the packed row."""
    queries: Tensor
    """Which query stands at each place, shape (R * H * L,); padding repeats a row's last token."""
    keys: Tensor
    """Which key a row sees, shape (R * H_kv * K,)."""
    outputs: Tensor
    """At which place each token's query stands, shape (n_tokens * H,)."""
    own_keys: Tensor
    """At which place each token's key stands, shape (n_tokens * H_kv,)."""
    bias: Tensor
    """0 where a query sees a key, else -inf, shape (R * H_kv, H / H_kv * L, K)."""


@dataclass(frozen=True)
class TreeAttention:
    """Attention within one packed row of T tokens; made by `tree_attention`."""

    heads: Heads
    blocks: tuple[_Block, ...]
    """The prefix, if there is one, and the examples."""
    dtype: torch.dtype
    """What is kept for the way back, and multiplied with the weights; scores are of queries and keys as they come."""

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """See `decoder.Attend`."""
        attended: Tensor = _TreeAttention.apply(qkv, self)  # type: ignore[no-untyped-call]
        return attended


def tree_attention(heads: Heads, packed: Packed, precision: Precision = "float32") -> Attend:
    """Lay out a packed row for its attention: in one softmax, or merged of two where that would keep too much.

    Args:
        heads: How queries, keys and values are cut.
        packed: The row.
        precision: Of values, weights and all of the way back, but not of the scores; in bfloat16 these products take a
            third of the time where the CPU has instructions for it. Merged attention is in float32.
    """
    n_prefix = int((packed.owners < 0).sum())
    lengths = packed.owners[n_prefix:].bincount()
    if n_prefix and _weights_bytes(heads, lengths, n_prefix) > _MOST_BYTES_KEPT:
        return merged_attention(heads, packed)
    starts = n_prefix + lengths.cumsum(0) - lengths
    prefix = [_block(heads, packed, torch.tensor([0]), torch.tensor([n_prefix]), 0)] if n_prefix else []
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return TreeAttention(heads, (*prefix, _block(heads, packed, starts, lengths, n_prefix)), dtype)


def _block(heads: Heads, packed: Packed, starts: Tensor, lengths: Tensor, n_shared: int) -> _Block:
    n_rows, length = len(lengths), int(lengths.max())
    place = torch.arange(length)
    tokens = starts[:, None] + torch.minimum(place, lengths[:, None] - 1)  # (R, L)
    exists = place < lengths[:, None]
    seen = torch.cat([torch.arange(n_shared).expand(n_rows, -1), tokens], dim=1)  # (R, K)
    visible = torch.cat([torch.ones(n_rows, n_shared, dtype=torch.bool), exists], dim=1)
    allowed = packed.mask[0, 0][tokens[:, :, None], seen[:, None]] & visible[:, None]  # (R, L, K)
    # Padding sees something, so that its softmax is a number; nobody reads it.
    allowed[:, :, 0] |= ~exists
    bias = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
    n_kinds = heads.n_heads + 2 * heads.n_kv_heads
    query_heads, key_heads = torch.arange(heads.n_heads), torch.arange(heads.n_kv_heads)
    rows, places = exists.nonzero(as_tuple=True)  # of the tokens, in their order
    n_keys = seen.shape[1]
    outputs = (rows[:, None] * heads.n_heads + query_heads) * length + places[:, None]
    own_keys = (rows[:, None] * heads.n_kv_heads + key_heads) * n_keys + n_shared + places[:, None]
    return _Block(
        tokens=slice(int(starts[0]), int(starts[-1] + lengths[-1])),
        n_shared=n_shared,
        queries=(tokens[:, None] * n_kinds + query_heads[:, None]).flatten(),
        keys=(seen[:, None] * n_kinds + heads.n_heads + key_heads[:, None]).flatten(),
        outputs=outputs.flatten(),
        own_keys=own_keys.flatten(),
        bias=bias[:, None].repeat(1, heads.n_heads, 1, 1).view(n_rows * heads.n_kv_heads, -1, n_keys),
    )


def _weights_bytes(heads: Heads, lengths: Tensor, n_prefix: int) -> int:
    """Return the size of the attention weights of a layer in float32: which attention it is does not depend on more."""
    longest = int(lengths.max())
    return 4 * heads.n_heads * (n_prefix**2 + len(lengths) * longest * (n_prefix + longest))


class _TreeAttention(Function):
    """Softmax attention; the heads of a group are queries against the same keys."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, layout: TreeAttention) -> Tensor:
        heads, saved = layout.heads, list[Tensor]()
        flat = qkv.view(-1, qkv.shape[-1])
        attended = qkv.new_empty(len(qkv), heads.n_heads * heads.head_dim)
        for block in layout.blocks:
            n_groups, n_queries, n_keys = block.bias.shape
            query = flat.index_select(0, block.queries).view(n_groups, n_queries, -1)
            key = flat.index_select(0, block.keys).view(n_groups, n_keys, -1)
            value = flat.index_select(0, block.keys + heads.n_kv_heads).view(n_groups, n_keys, -1)
            # Adding the bias in the product itself (`baddbmm`) takes twice as long.
            scores = torch.bmm(query.mul_(_scale(layout)), key.transpose(1, 2)).add_(block.bias)
            query, key, value, weights = (part.to(layout.dtype) for part in (query, key, value, scores.softmax(-1)))
            saved += [query, key, value, weights]
            places = torch.bmm(weights, value).view(-1, heads.head_dim)
            own = attended[block.tokens]
            own.copy_(places.index_select(0, block.outputs).view(own.shape))
        ctx.save_for_backward(*saved)
        ctx.layout = layout
        return attended

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        layout: TreeAttention = ctx.layout
        heads, dim = layout.heads, layout.heads.head_dim
        result = grads[0].new_empty(len(grads[0]), heads.n_heads + 2 * heads.n_kv_heads, dim)
        saved = ctx.saved_tensors  # asked for once: what is computed again is given but once
        for index, block in enumerate(layout.blocks):
            query, key, value, weights = saved[4 * index : 4 * index + 4]
            grad = torch.zeros_like(query)
            own = grads[0][block.tokens].reshape(-1, dim).to(layout.dtype)
            grad.view(-1, dim).index_copy_(0, block.outputs, own)
            grad_weights = torch.bmm(grad, value.transpose(1, 2))
            grad_value = torch.bmm(weights.transpose(1, 2), grad)
            grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
            grad_query = torch.bmm(grad_scores, key).mul_(_scale(layout))
            grad_key = torch.bmm(grad_scores.transpose(1, 2), query)
            to_query, to_key, to_value = heads.split(result[block.tokens])
            to_query.copy_(grad_query.view(-1, dim).index_select(0, block.outputs).view(to_query.shape))
            for to_own, found, kind in ((to_key, grad_key, 1), (to_value, grad_value, 2)):
                to_own.copy_(found.view(-1, dim).index_select(0, block.own_keys).view(to_own.shape))
                if block.n_shared:  # every row's share of the prefix adds up
                    rows = found.view(-1, heads.n_kv_heads, *found.shape[1:])[:, :, : block.n_shared]
                    heads.split(result[: block.n_shared])[kind].add_(rows.float().sum(0).transpose(0, 1))
        return result, None


def _scale(layout: TreeAttention) -> float:
    return 1 / math.sqrt(layout.heads.head_dim)
