from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handful.llm.label_trie import ROOT, LabelTrie, build_label_trie

END = (9,)


def spelled(trie: LabelTrie) -> list[tuple[int, ...]]:
    return [tuple(token for _, token in path) for path in trie.steps]


def test_single_tokens_need_no_node() -> None:
    trie = build_label_trie([(4,), (2,), (3,)], END)
    assert (trie.n_nodes, trie.root_tokens) == (0, (2, 3, 4))
    assert trie.steps == (((ROOT, 4),), ((ROOT, 2),), ((ROOT, 3),))
    assert trie.visibility().shape == (0, 0)
    assert trie.depths().shape == (0,)


def test_shared_beginnings_share_nodes() -> None:
    trie = build_label_trie([(1, 2, 3), (1, 2, 4), (5, 6)], END)
    assert trie.tokens == (1, 2, 5)
    assert trie.parents == (ROOT, 0, ROOT)
    assert trie.depths().tolist() == [1, 2, 1]
    assert trie.visibility().tolist() == [[True, False, False], [True, True, False], [False, False, True]]
    assert trie.steps[1] == ((ROOT, 1), (0, 2), (1, 4))


def test_a_label_that_begins_another_is_ended() -> None:
    trie = build_label_trie([(1,), (1, 2), (3,)], END)
    assert spelled(trie) == [(1, 9), (1, 2, 9), (3, 9)]


def test_the_end_is_only_added_when_needed() -> None:
    assert spelled(build_label_trie([(1, 3), (1, 2)], END)) == [(1, 3), (1, 2)]


@pytest.mark.parametrize("labels", [[(1,), ()], [(1, 2), (3,), (1, 2)]])
def test_empty_and_equal_labels_are_refused(labels: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="distinct and non-empty"):
        build_label_trie(labels, END)


def test_some_labels_are_spelled_through_some_nodes() -> None:
    trie = build_label_trie([(1, 2, 3), (1, 2, 4), (5, 6), (7,)], END)
    assert trie.edges == ((0, 2), (1, 3), (1, 4), (2, 6))
    assert [trie.nodes_of(labels) for labels in ([0], [1, 2], [2], [3], [])] == [(0, 1), (0, 1, 2), (2,), (), ()]


def test_of_many_nodes_those_are_read_where_labels_part() -> None:
    whole = build_label_trie([(1, label, 2) for label in range(31)], END)
    assert (whole.n_nodes, whole.among_labels) == (32, False)
    parting = build_label_trie([(1, label, 2) for label in range(32)], END)
    assert (parting.tokens, parting.parents, parting.among_labels) == ((1,), (ROOT,), True)
    assert parting.steps[5] == ((ROOT, 1), (0, 5))
    assert not build_label_trie([(label,) for label in range(500)], END).among_labels


def test_of_many_labels_what_they_have_in_common_is_read_and_not_scored() -> None:
    trie = build_label_trie([(1, 2, 3, 4), (1, 2, 3, 5, 6), *[(10 + label, 2, 3) for label in range(20)]], END)
    assert (trie.tokens, trie.parents) == ((1, 2, 3), (ROOT, 0, 1))
    assert trie.steps[:3] == (((ROOT, 1), (2, 4)), ((ROOT, 1), (2, 5)), ((ROOT, 10),))
    assert trie.edges == ((2, 4), (2, 5))
    assert [trie.nodes_of(labels) for labels in ([0], [1, 2], [2])] == [(0, 1, 2), (0, 1, 2), ()]


def test_of_many_labels_only_the_one_that_begins_another_is_ended() -> None:
    trie = build_label_trie([(1,), (1, 2), *[(10 + label,) for label in range(51)]], END)
    assert (trie.tokens, trie.among_labels) == ((1,), True)
    assert trie.steps[:3] == (((ROOT, 1), (0, 9)), ((ROOT, 1), (0, 2)), ((ROOT, 10),))


def test_many_labels_may_part_at_many_nodes() -> None:
    labels = [(first, second, third) for first in range(6) for second in range(6) for third in range(2)]
    trie = build_label_trie(labels, END)
    assert (trie.n_nodes, trie.among_labels, trie.is_small) == (42, True, False)
    assert [len(path) for path in trie.steps] == [3] * 72


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=2, max_size=6, unique=True))
@settings(max_examples=200, deadline=None)
def test_every_step_stands_on_its_own_path(labels: list[tuple[int, ...]]) -> None:
    trie = build_label_trie(labels, END)
    ended = any(a != b and b[: len(a)] == a for a in labels for b in labels)
    assert spelled(trie) == [(*label, *END) if ended else label for label in labels]
    seen, depths = trie.visibility(), trie.depths()
    for path in trie.steps:
        assert path[0][0] == ROOT
        for (_, token), (node, _) in itertools.pairwise(path):
            assert trie.tokens[node] == token
        for depth, (node, _) in enumerate(path):
            if node != ROOT:
                assert depths[node] == depth
                assert sorted(np.flatnonzero(seen[node])) == sorted(n for n, _ in path[1 : depth + 1])
    assert all(parent < node for node, parent in enumerate(trie.parents))
    assert len(set(zip(trie.parents, trie.tokens, strict=True))) == trie.n_nodes
