"""The attention kernel against the usual one, on random numbers; `test_local.py` compares whole models."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from handful.llm.shared_prefix import Prefix, attention, row_cache

HEADS, KV_HEADS, DIM = 6, 2, 8
LAYER = SimpleNamespace(layer_idx=1)


def prefix_of(n_tokens: int) -> Prefix:
    layers = tuple((torch.randn(1, KV_HEADS, n_tokens, DIM), torch.randn(1, KV_HEADS, n_tokens, DIM)) for _ in range(2))
    return Prefix(n_tokens, layers, torch.zeros(1, 4))


def usual(query: Tensor, key: Tensor, value: Tensor, prefixes: list[tuple[Prefix, int]], own: Tensor | None) -> Tensor:
    """Row by row, with the prefix's keys in front of the row's own."""
    rows, row = [], 0
    for prefix, count in prefixes:
        for _ in range(count):
            keys, values = (
                torch.cat([shared[0], mine[row]], dim=1).repeat_interleave(HEADS // KV_HEADS, 0)
                for shared, mine in zip(prefix.layers[1], (key, value), strict=True)
            )
            n_queries, n_own = query.shape[2], key.shape[2]
            seen = own[row, 0] if own is not None else torch.ones(n_queries, n_own).tril(n_own - n_queries).bool()
            mask = torch.cat([torch.ones(n_queries, prefix.n_tokens).bool(), seen], dim=1)
            rows.append(scaled_dot_product_attention(query[row], keys, values, attn_mask=mask, scale=0.3))
            row += 1
    return torch.stack(rows).transpose(1, 2)


@pytest.mark.parametrize("n_queries", [1, 5])
@pytest.mark.parametrize("counts", [[4], [1, 2, 3]])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_the_usual_one(n_queries: int, counts: list[int], masked: bool) -> None:
    if masked and n_queries == 1:
        n_queries = 3
    torch.manual_seed(0)
    prefixes = [(prefix_of(3 + index), count) for index, count in enumerate(counts)]
    n_rows, n_own = sum(counts), n_queries if n_queries > 1 else 4
    query = torch.randn(n_rows, HEADS, n_queries, DIM)
    key, value = torch.randn(2, n_rows, KV_HEADS, n_own, DIM)
    own = torch.ones(n_queries, n_own).tril().bool().repeat(n_rows, 1, 1)[:, None] if masked else None
    if own is not None:
        own[1::2, 0, 2, 1] = False  # a label node that does not see its sibling
    output, _ = attention(LAYER, query, key, value, None, 0.3, prefixes, own)
    assert torch.allclose(output, usual(query, key, value, prefixes, own), atol=1e-5)


def test_row_cache_keeps_what_it_is_given() -> None:
    cache = row_cache(2)
    given: list[Tensor] = []
    for step in range(40):
        key = torch.full((3, KV_HEADS, 1, DIM), float(step))
        given.append(key)
        keys, values = cache.update(key, -key, 0)
        assert torch.equal(keys, torch.cat(given, dim=2))
        assert torch.equal(values, -torch.cat(given, dim=2))
        assert cache.get_seq_length() == step + 1
