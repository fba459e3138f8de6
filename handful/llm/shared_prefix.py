"""Attention over a prefix that is stored once for all rows, merged with each row's own tokens by log-sum-exp.

The usual way expands the prefix's keys and values to the batch and copies them at every step; at 64 rows and a prefix
of 500 tokens that is 1.5 GB for SmolLM2-135M. Here the queries of all rows are folded into one matrix against the one
copy (Juravsky et al. 2024, "Hydragen", section 3.2). CPU only: it needs the log-sum-exp the CPU flash kernel returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.masking_utils import AttentionMaskInterface

NAME = "handful_shared_prefix"
_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

LayerStates = tuple[Tensor, Tensor]
"""Keys and values of one layer, each (1, n_kv_heads, n_tokens, head_dim)."""


@dataclass(frozen=True)
class Prefix:
    """A computed prompt prefix."""

    n_tokens: int
    layers: tuple[LayerStates, ...]
    last_hidden: Tensor
    """Hidden state at its last position, shape (1, D)."""


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    shared_prefix: Sequence[tuple[Prefix, int]] = (),
    own_mask: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attend to the shared prefix and to the row's own tokens.

    Args:
        module: The model's attention layer.
        query: Shape (B, H, Q, d).
        key: The row's own keys, shape (B, n_kv_heads, K, d).
        value: Same shape as `key`.
        attention_mask: Always None here; own tokens are causal unless `own_mask` says otherwise.
        scaling: Factor before the softmax.
        shared_prefix: The rows' prefixes in row order, each with its number of rows; empty while a prefix itself is
            computed.
        own_mask: Which own token sees which, bool, shape (B, 1, Q, K).

    Returns:
        Output of shape (B, Q, H, d), and None for the weights.
    """
    n_rows, n_heads, n_queries, head_dim = query.shape
    n_kv_heads = key.shape[1]
    group = n_heads // n_kv_heads
    if n_queries == 1:  # decoding: the heads of a group are queries against the same keys
        folded = query.reshape(n_rows, n_kv_heads, group, head_dim)
        own, own_lse = _flash(folded, key, value, 0.0, False, scale=scaling)
        own, own_lse = own.reshape(query.shape), own_lse.reshape(n_rows, n_heads, 1)
    else:
        keys, values = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        bias = None
        if own_mask is not None:
            bias = torch.zeros(own_mask.shape, dtype=query.dtype).masked_fill_(~own_mask, float("-inf"))
        own, own_lse = _flash(query, keys, values, 0.0, bias is None, attn_mask=bias, scale=scaling)
    if not shared_prefix:
        return own.transpose(1, 2).contiguous(), None
    start = 0
    parts = []
    for prefix, count in shared_prefix:
        rows = slice(start, start + count)
        pre, pre_lse = _over_prefix(query[rows], prefix.layers[module.layer_idx], scaling)
        share = torch.sigmoid(pre_lse - own_lse[rows]).unsqueeze(-1)  # e^a / (e^a + e^b)
        parts.append(torch.lerp(own[rows], pre, share))
        start += count
    merged = parts[0] if len(parts) == 1 else torch.cat(parts)
    return merged.transpose(1, 2).contiguous(), None


def _over_prefix(query: Tensor, states: LayerStates, scaling: float | None) -> tuple[Tensor, Tensor]:
    """Attend with all rows to one prefix: output (B, H, Q, d) and log-sum-exp (B, H, Q)."""
    keys, values = states
    n_rows, n_heads, n_queries, head_dim = query.shape
    shape = (keys.shape[1], n_rows, n_heads // keys.shape[1], n_queries)
    folded = query.reshape(n_rows, shape[0], shape[2], n_queries, head_dim).transpose(0, 1)
    output, lse = _flash(folded.reshape(1, shape[0], -1, head_dim), keys, values, 0.0, False, scale=scaling)
    output = output.reshape(*shape, head_dim).transpose(0, 1).reshape(query.shape)
    return output, lse.reshape(shape).transpose(0, 1).reshape(n_rows, n_heads, n_queries)


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _no_mask)


_GROWTH_TOKENS = 16


class RowLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed for us
    """Keys and values of the rows' own tokens in a buffer that is written in place and grows now and then.

    Rows end early, so a buffer of the full length for all of them would be mostly empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self._length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new tokens behind the old ones and return views of all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        end = self._length + key_states.shape[2]
        if end > self.keys.shape[2]:
            more = (*self.keys.shape[:2], max(_GROWTH_TOKENS, key_states.shape[2]), self.keys.shape[3])
            self.keys = torch.cat([self.keys, key_states.new_empty(more)], dim=2)
            self.values = torch.cat([self.values, value_states.new_empty(more)], dim=2)
        self.keys[:, :, self._length : end] = key_states
        self.values[:, :, self._length : end] = value_states
        self._length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of own tokens."""
        return self._length


def row_cache(n_layers: int) -> Cache:
    """Return an empty cache of the rows' own tokens."""
    return Cache(layers=[RowLayer() for _ in range(n_layers)])
