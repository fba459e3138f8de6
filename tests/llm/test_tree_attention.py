"""Both attentions of a packed training row against the usual one with a dense mask, forward and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from handful.llm.decoder import Heads
from handful.llm.label_trie import build_label_trie
from handful.llm.merged_attention import MergedAttention
from handful.llm.packing import Packed, pack
from handful.llm.tree_attention import TreeAttention, tree_attention

HEADS = Heads(n_heads=6, n_kv_heads=2, head_dim=8)
TRIE = build_label_trie([[5, 6], [5, 7, 8], [9, 6], [10]], [1])


def packed_row(n_prefix: int) -> Packed:
    """Texts of several lengths, with label nodes behind them that are a tree."""
    texts = [list(range(20, 20 + length)) for length in (3, 7, 1)]
    nodes = [tuple(range(TRIE.n_nodes)), TRIE.nodes_of([1]), TRIE.nodes_of([3])]
    return pack(list(range(40, 40 + n_prefix)), texts, TRIE, nodes)


def dense(qkv: Tensor, mask: Tensor) -> Tensor:
    query, key, value = (part.transpose(0, 1) for part in HEADS.split(qkv))
    key, value = (part.repeat_interleave(3, 0) for part in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("n_prefix", [1, 4, 300])
@pytest.mark.parametrize("kind", [TreeAttention, MergedAttention])
def test_outputs_and_gradients_are_those_of_a_dense_mask(
    n_prefix: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind is MergedAttention:
        monkeypatch.setattr("handful.llm.tree_attention._MOST_BYTES_KEPT", 0)
    torch.manual_seed(n_prefix)
    packed = packed_row(n_prefix)
    attend = tree_attention(HEADS, packed)
    assert isinstance(attend, kind)
    qkv, upstream = torch.randn(len(packed.owners), 10, 8), torch.randn(len(packed.owners), 48)
    for scale, close in ((1, 1e-5), (10, 1e-2)):  # far from one another: what is padded must not overflow
        own, other = (scale * qkv).requires_grad_(), (scale * qkv).double().requires_grad_()
        outputs, expected = attend(0, own), dense(other, packed.mask[0])
        (gradient,) = torch.autograd.grad(outputs, own, upstream)
        (expected_gradient,) = torch.autograd.grad(expected, other, upstream.double())
        assert np.allclose(outputs.detach(), expected.detach(), atol=close)
        assert np.allclose(gradient, expected_gradient, atol=close)


@pytest.mark.parametrize("n_prefix", [0, 40])
def test_bfloat16_is_as_near_as_its_eight_bits(n_prefix: int) -> None:
    torch.manual_seed(n_prefix)
    packed = packed_row(n_prefix)
    attend = tree_attention(HEADS, packed, "bfloat16")
    assert isinstance(attend, TreeAttention)
    qkv, upstream = torch.randn(len(packed.owners), 10, 8), torch.randn(len(packed.owners), 48)
    for scale in (1, 5):  # weights of far larger scores are still those of float32
        own, other = (scale * qkv).requires_grad_(), (scale * qkv).requires_grad_()
        outputs, expected = attend(0, own), dense(other, packed.mask[0])
        (gradient,) = torch.autograd.grad(outputs, own, upstream)
        (expected_gradient,) = torch.autograd.grad(expected, other, upstream)
        for found, true in ((outputs, expected), (gradient, expected_gradient)):
            assert found.dtype == torch.float32
            assert 0 < float((found - true).detach().norm() / true.detach().norm()) < 0.01


def test_bfloat16_keeps_half_the_bytes() -> None:
    kept: list[int] = []

    def count(tensor: Tensor) -> Tensor:
        kept[-1] += tensor.nbytes
        return tensor

    for precision in ("float32", "bfloat16"):
        kept.append(0)
        packed = packed_row(40)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            tree_attention(HEADS, packed, precision)(0, torch.randn(len(packed.owners), 10, 8).requires_grad_())
    assert kept[1] * 2 == kept[0] > 0


@pytest.mark.parametrize(
    ("n_prefix", "n_examples", "kind"),
    [(300, 12, TreeAttention), (1200, 6, MergedAttention), (1100, 46, MergedAttention)],
)
def test_no_weights_of_a_long_prefix_are_kept(n_prefix: int, n_examples: int, kind: type) -> None:
    smollm = Heads(n_heads=9, n_kv_heads=3, head_dim=64)
    assert isinstance(tree_attention(smollm, pack(list(range(n_prefix)), [list(range(25))] * n_examples, None)), kind)
