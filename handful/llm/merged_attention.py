"""Attention of a packed training row behind a long prefix, with gradients: no weight of it is ever kept.

Behind the demonstrations of fifty labels, `tree_attention` would keep 90 MB of weights a layer, and as many copies of
the prefix as there are examples. Here an example's attention to the prefix and to itself are two flash kernels (Dao et
al. 2022), merged by log-sum-exp. Going back, each takes the merged output and log-sum-exp for its own, from which it
computes its part of the merged weights anew: gradients are exact (Liu et al. 2023, "Ring Attention", does the same).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from handful.llm.attention import flash
from handful.llm.decoder import Heads
from handful.llm.packing import Packed

_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
_Inputs = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class _Piece:
    """B rows of L queries against the same K keys each; places are padded by repeating a row's last token."""

    queries: Tensor
    """Which token stands at each place, shape (B, L)."""
    keys: Tensor
    """Which token is seen at each, shape (B, K)."""
    slots: Tensor
    """At which of the B * L places each token stands, shape (n_tokens,)."""
    padding: Tensor
    """Which places are none of them, bool, shape (B, 1, L, 1)."""
    bias: Tensor | None = None
    """0 where a query sees a key, else -inf, shape (B, 1, L, K); None is all."""
    causal: bool = False

    def inputs(self, heads: Heads, qkv: Tensor) -> _Inputs:
        """Return queries, keys and values, (B, H, L or K, d): a group's keys once for each of its query heads."""
        query, key, value = heads.split(qkv)
        group = heads.n_heads // heads.n_kv_heads
        query, *seen = query[self.queries], key[self.keys], value[self.keys]
        key, value = (part.transpose(1, 2).repeat_interleave(group, 1) for part in seen)
        return query.transpose(1, 2).contiguous(), key, value

    def attend(self, inputs: _Inputs) -> tuple[Tensor, Tensor]:
        """Return outputs (n_tokens, H, d) and log-sum-exp of the scores (n_tokens, H)."""
        output, lse = flash(*inputs, causal=self.causal, bias=self.bias)
        return self._by_token(output), self._by_token(lse)

    def add_gradients(
        self, heads: Heads, result: Tensor, qkv: Tensor, grad: Tensor, output: Tensor, lse: Tensor
    ) -> None:
        """Add to `result`, shaped as `qkv`, this piece's part of the gradient.

        Args:
            heads: How `qkv` is cut.
            result: Where the parts add up.
            qkv: Of all tokens, (T, H + 2 H_kv, d).
            grad: Of the merged output, (T, H, d).
            output: The merged output, (T, H, d).
            lse: The merged log-sum-exp, (T, H).
        """
        inputs = self.inputs(heads, qkv)
        grad, output, lse = (part[self.queries].transpose(1, 2) for part in (grad, output, lse))
        to_query, *to_seen = _flash_backward(
            grad.masked_fill(self.padding, 0.0), *inputs, output, lse, 0.0, self.causal, attn_mask=self.bias
        )
        own, *seen = heads.split(result)
        own.index_add_(0, self.queries.flatten()[self.slots], self._by_token(to_query))
        for total, found in zip(seen, to_seen, strict=True):
            of_groups = found.view(len(found), heads.n_kv_heads, -1, *found.shape[2:]).sum(2)  # (B, H_kv, K, d)
            total.index_add_(0, self.keys.flatten(), of_groups.transpose(1, 2).flatten(0, 1))

    def _by_token(self, places: Tensor) -> Tensor:
        return places.transpose(1, 2).flatten(0, 1)[self.slots]


@dataclass(frozen=True)
class MergedAttention:
    """Attention within one packed row whose first P tokens all others see; made by `merged_attention`."""

    heads: Heads
    prefix: _Piece
    behind: _Piece
    """The examples' tokens, each seeing the prefix."""
    own: _Piece
    """The examples, each seeing itself."""

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        """See `decoder.Attend`."""
        attended: Tensor = _MergedAttention.apply(qkv, self)  # type: ignore[no-untyped-call]
        return attended


def merged_attention(heads: Heads, packed: Packed) -> MergedAttention:
    """Lay out a packed row with a shared prefix for its attention."""
    n_prefix, n_tokens = int((packed.owners < 0).sum()), len(packed.owners)
    prefix, examples = torch.arange(n_prefix)[None], torch.arange(n_prefix, n_tokens)[None]
    lengths = packed.owners[n_prefix:].bincount()
    starts = n_prefix + lengths.cumsum(0) - lengths
    place = torch.arange(int(lengths.max()))
    tokens = starts[:, None] + torch.minimum(place, lengths[:, None] - 1)  # (B, L)
    exists = place < lengths[:, None]
    seen = packed.mask[0, 0][tokens[:, :, None], tokens[:, None]] & exists[:, None]
    seen[:, :, 0] |= ~exists  # padding sees something, so that its softmax is a number; nobody reads it
    bias = torch.zeros(seen.shape).masked_fill_(~seen, float("-inf"))[:, None]
    return MergedAttention(
        heads,
        _piece(prefix, prefix, causal=True),
        _piece(examples, prefix),
        _piece(tokens, tokens, exists, bias),
    )


def _piece(
    queries: Tensor, keys: Tensor, exists: Tensor | None = None, bias: Tensor | None = None, *, causal: bool = False
) -> _Piece:
    exists = torch.ones_like(queries, dtype=torch.bool) if exists is None else exists
    return _Piece(queries, keys, exists.flatten().nonzero().squeeze(1), ~exists[:, None, :, None], bias, causal)


class _MergedAttention(Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, layout: MergedAttention) -> Tensor:
        pieces = (layout.prefix, layout.behind, layout.own)
        (of_prefix, lse_prefix), (behind, lse_behind), (own, lse_own) = (
            piece.attend(piece.inputs(layout.heads, qkv)) for piece in pieces
        )
        share = torch.sigmoid(lse_own - lse_behind)[..., None]  # e^a / (e^a + e^b)
        output = torch.cat([of_prefix, torch.lerp(behind, own, share)])
        lse = torch.cat([lse_prefix, torch.logaddexp(lse_behind, lse_own)])
        ctx.save_for_backward(qkv, output, lse)
        ctx.layout = layout
        return output.flatten(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        layout: MergedAttention = ctx.layout
        qkv, output, lse = ctx.saved_tensors
        grad, result = grads[0].view(output.shape), torch.zeros_like(qkv)
        for piece in (layout.prefix, layout.behind, layout.own):
            piece.add_gradients(layout.heads, result, qkv, grad, output, lse)
        return result, None
