"""The attention of reading and writing against the usual one, on random numbers; `test_local.py` compares models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from handful.llm.attention import Opening, Prefix, Reading, RowCache, Writing
from handful.llm.decoder import Heads

HEADS = Heads(n_heads=6, n_kv_heads=2, head_dim=8)
LAYER = 1


def prefix_of(n_tokens: int) -> Prefix:
    layers = tuple((torch.randn(1, 2, n_tokens, 8), torch.randn(1, 2, n_tokens, 8)) for _ in range(2))
    return Prefix(n_tokens, layers, torch.zeros(1, 4))


def usual(query: Tensor, key: Tensor, value: Tensor, prefix: Prefix | None, mask: Tensor) -> Tensor:
    """One row, (tokens, heads, d) each, with the prefix's keys in front of its own; `mask` is over its own."""
    keys, values = key.transpose(0, 1), value.transpose(0, 1)
    if prefix is not None:
        keys, values = (
            torch.cat([shared[0], own], dim=1) for shared, own in zip(prefix.layers[LAYER], (keys, values), strict=True)
        )
        mask = torch.cat([torch.ones(len(mask), prefix.n_tokens, dtype=torch.bool), mask], dim=1)
    keys, values = keys.repeat_interleave(3, 0), values.repeat_interleave(3, 0)
    output = scaled_dot_product_attention(query.transpose(0, 1), keys, values, attn_mask=mask)
    return output.transpose(0, 1).flatten(1)


def causal(n: int) -> Tensor:
    return torch.ones(n, n, dtype=torch.bool).tril()


def test_a_prefix_sees_itself_and_is_kept() -> None:
    qkv, opening = torch.randn(7, 10, 8), Opening(HEADS)
    output = opening(0, qkv)
    query, key, value = HEADS.split(qkv)
    assert torch.allclose(output, usual(query, key, value, None, causal(7)), atol=1e-5)
    assert torch.equal(opening.layers[0][0][0], key.transpose(0, 1))
    assert torch.equal(opening.layers[0][1][0], value.transpose(0, 1))


@pytest.mark.parametrize("n_tokens", [3, 160, 161])
@pytest.mark.parametrize("masked", [False, True])
def test_rows_see_the_prefix_and_themselves(masked: bool, n_tokens: int) -> None:
    prefix, rows = prefix_of(n_tokens), torch.randn(4, 5, 10, 8)
    own = causal(5).repeat(4, 1, 1)
    if masked:
        own[1::2, 2, 1] = False  # a label node that does not see its sibling
    attend = Reading(HEADS, prefix, 4, 5, own[:, None] if masked else None)
    output = attend(LAYER, rows.flatten(0, 1)).view(4, 5, -1)
    for row, seen, found in zip(rows, own, output, strict=True):
        assert torch.allclose(found, usual(*HEADS.split(row), prefix, seen), atol=1e-5)


@pytest.mark.parametrize("counts", [[4], [1, 2, 3]])
def test_growing_rows_see_their_prefix_and_what_they_wrote(counts: list[int]) -> None:
    prefixes = [(prefix_of(3 + index), count) for index, count in enumerate(counts)]
    of_row = [prefix for prefix, count in prefixes for _ in range(count)]
    caches = [RowCache(), RowCache()]
    written = torch.randn(len(of_row), 20, 10, 8)
    for step in range(20):
        output = Writing(HEADS, prefixes, caches)(LAYER, written[:, step])
        for row, prefix, found in zip(written, of_row, output, strict=True):
            _, key, value = HEADS.split(row[: step + 1])
            query = HEADS.split(row[step : step + 1])[0]
            seen = torch.ones(1, step + 1, dtype=torch.bool)
            assert torch.allclose(found, usual(query, key, value, prefix, seen)[0], atol=1e-5)


def test_row_cache_keeps_and_selects_what_it_is_given() -> None:
    cache, given = RowCache(), torch.randn(40, 3, 2, 1, 8)
    cache.select(torch.tensor([0]))  # nothing yet
    for step, key in enumerate(given):
        keys, values = cache.append(key, -key)
        assert torch.equal(keys, torch.cat(list(given[: step + 1]), dim=2))
        assert torch.equal(values, -keys)
    cache.select(torch.tensor([2, 0]))
    keys, _ = cache.append(given[0, [2, 0]], given[0, [2, 0]])
    assert torch.equal(keys[:, :, :-1], torch.cat(list(given), dim=2)[[2, 0]])
