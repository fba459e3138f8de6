"""Attention over a prefix that is stored once for all rows, merged with each row's own tokens by log-sum-exp.

The usual way expands the prefix's keys and values to the batch and copies them at every step; at 64 rows and a prefix
of 500 tokens that is 1.5 GB for SmolLM2-135M. Here the queries of all rows are folded into one matrix against the one
copy (Juravsky et al. 2024, "Hydragen", section 3.2). CPU only: it needs the log-sum-exp the CPU flash kernel returns.
"""

from __future__ import annotations

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
    shared_prefix: tuple[LayerStates, ...] = (),
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
        shared_prefix: Keys and values of the prefix per layer; empty while the prefix itself is computed.
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
    prefix_key, prefix_value = shared_prefix[module.layer_idx]
    folded = query.reshape(n_rows, n_kv_heads, group, n_queries, head_dim).transpose(0, 1)
    folded = folded.reshape(1, n_kv_heads, n_rows * group * n_queries, head_dim)
    pre, pre_lse = _flash(folded, prefix_key, prefix_value, 0.0, False, scale=scaling)
    shape = (n_kv_heads, n_rows, group, n_queries)
    pre = pre.reshape(*shape, head_dim).transpose(0, 1).reshape(query.shape)
    pre_lse = pre_lse.reshape(shape).transpose(0, 1).reshape(n_rows, n_heads, n_queries)
    share = torch.sigmoid(pre_lse - own_lse).unsqueeze(-1)  # e^a / (e^a + e^b)
    return torch.lerp(own, pre, share).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _no_mask)


class RowLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not typed for us
    """Keys and values of the rows' own tokens in one buffer that is written in place: no copy per step."""

    def __init__(self, max_tokens: int) -> None:
        super().__init__()
        self._max_tokens = max_tokens
        self._length = 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new tokens behind the old ones and return views of all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            shape = (*key_states.shape[:2], self._max_tokens, key_states.shape[3])
            self.keys, self.values = key_states.new_empty(shape), value_states.new_empty(shape)
        end = self._length + key_states.shape[2]
        self.keys[:, :, self._length : end] = key_states
        self.values[:, :, self._length : end] = value_states
        self._length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of own tokens."""
        return self._length


def row_cache(n_layers: int, max_tokens: int) -> Cache:
    """Return an empty cache for `max_tokens` own tokens a row."""
    return Cache(layers=[RowLayer(max_tokens) for _ in range(n_layers)])
