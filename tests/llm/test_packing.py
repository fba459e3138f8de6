from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from handful.llm.label_trie import LabelTrie, build_label_trie
from handful.llm.loading import LoadedModel
from handful.llm.packing import Packed, pack

PREFIX = [20, 21, 22]
TEXTS = [[30, 31], [40], [50, 51, 52, 53], [60, 61]]
TRIES = {
    "single": build_label_trie([(5,), (6,)], (9,)),
    "multi": build_label_trie([(5, 6), (7, 8, 9), (7, 10)], (9,)),
}


@pytest.mark.parametrize("share", [True, False])
def test_layout(share: bool) -> None:
    packed = pack(PREFIX, TEXTS[:2], TRIES["multi"], share_prefix=share)
    nodes = list(TRIES["multi"].tokens)
    own = [] if share else PREFIX
    assert packed.ids[0].tolist() == [*(PREFIX if share else []), *own, 30, 31, *nodes, *own, 40, *nodes]
    assert packed.ids[0, packed.ends].tolist() == [31, 40]
    assert packed.positions[0, packed.ends].tolist() == [4, 3]
    depths = TRIES["multi"].depths()
    for end in packed.ends.tolist():
        at = packed.positions[0, end + 1 : end + 1 + len(nodes)] - packed.positions[0, end]
        assert at.tolist() == depths.tolist()
    assert sorted(set(packed.owners.tolist())) == ([-1, 0, 1] if share else [0, 1])


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("name", TRIES)
def test_no_token_sees_another_example_or_the_future(share: bool, name: str) -> None:
    packed = pack(PREFIX, TEXTS, TRIES[name], share_prefix=share)
    mask, owners = packed.mask[0, 0], packed.owners
    for query in range(len(owners)):
        for key in range(len(owners)):
            if mask[query, key]:
                assert owners[key] in (-1, owners[query])
                assert key <= query
        assert mask[query, query]
    for end in packed.ends.tolist():
        nodes = slice(end + 1, end + 1 + TRIES[name].n_nodes)
        assert mask[nodes, nodes].tolist() == TRIES[name].visibility().tolist()
        assert mask[nodes, end].all()


def test_each_text_has_the_nodes_it_needs() -> None:
    trie = TRIES["multi"]
    some = [trie.nodes_of([1]), (), trie.nodes_of([0]), trie.nodes_of([0, 2])]
    packed = pack(PREFIX, TEXTS, trie, some)
    behind = [[trie.tokens[node] for node in own] for own in some]
    assert packed.ids[0].tolist() == [
        *PREFIX,
        *(token for text, own in zip(TEXTS, behind, strict=True) for token in (*text, *own)),
    ]
    first = int(packed.ends[0])
    assert packed.positions[0, first : first + 3].tolist() == [4, 5, 6]
    assert packed.mask[0, 0, first + 2, : first + 3].all()
    fourth = int(packed.ends[3])
    assert packed.mask[0, 0, fourth + 2, fourth : fourth + 3].tolist() == [True, False, True]


def hidden_of(loaded: LoadedModel, packed: Packed, model: torch.nn.Module) -> Tensor:
    hidden: Tensor = model.base_model(  # type: ignore[operator]
        packed.ids, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False
    ).last_hidden_state[0]
    return hidden


def gradients_of(loaded: LoadedModel, rows: list[Packed], trie: LabelTrie) -> dict[str, Tensor]:
    """Gradients of a sum over what is read at each text's end and label nodes."""
    model = copy.deepcopy(loaded.model)
    for packed in rows:
        hidden = hidden_of(loaded, packed, model)
        read = packed.ends[:, None] + torch.arange(trie.n_nodes + 1)
        hidden[read].sin().sum().backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", TRIES)
@pytest.mark.parametrize("share", [True, False])
def test_gradients_equal_those_of_separate_rows(tiny_loaded: LoadedModel, name: str, share: bool) -> None:
    trie = TRIES[name]
    together = gradients_of(tiny_loaded, [pack(PREFIX, TEXTS, trie, share_prefix=share)], trie)
    apart = gradients_of(tiny_loaded, [pack(PREFIX, [text], trie) for text in TEXTS], trie)
    assert together.keys() == apart.keys()
    assert max(float(value.abs().max()) for value in apart.values()) > 1e-3
    for parameter, gradient in together.items():
        assert torch.allclose(gradient, apart[parameter], rtol=1e-4, atol=1e-5), parameter
