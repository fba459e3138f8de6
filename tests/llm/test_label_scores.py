import numpy as np
import pytest
import torch

from handful.llm.head import Head
from handful.llm.label_scores import _among_all_tokens, label_log_probs
from handful.llm.label_trie import build_label_trie


@pytest.mark.parametrize("labels", [[(1,), (2,)], [(1, 4), (2, 3)], [(1, 4, 5), (1, 4, 6), (2,)], [(1,), (1, 4)]])
def test_scores_are_the_written_out_sums(labels: list[tuple[int, ...]]) -> None:
    trie = build_label_trie(labels, (7,))
    torch.manual_seed(0)
    head, root = torch.randn(8, 5), torch.randn(3, 5)
    nodes = torch.randn(3, trie.n_nodes, 5)
    scores = label_log_probs(root, nodes.view(-1, 5), Head(head), trie)
    first = list(trie.root_tokens)
    for row in range(3):
        at_root = (root[row] @ head[first].T).log_softmax(-1)
        for column, path in enumerate(trie.steps):
            expected = float(at_root[first.index(path[0][1])])
            for node, token in path[1:]:
                expected += float((nodes[row, node] @ head.T).log_softmax(-1)[token])
            assert float(scores[row, column]) == pytest.approx(expected, abs=1e-5)


def test_nodes_may_be_scored_a_few_at_once() -> None:
    trie = build_label_trie([(1, 4, 5), (1, 4, 6), (2, 3)], (7,))
    nodes, head = torch.randn(7, 5), Head(torch.randn(8, 5))
    whole, columns = _among_all_tokens(nodes, head, trie, 7)
    parts, same = _among_all_tokens(nodes, head, trie, 3)
    assert torch.allclose(whole, parts)
    assert columns == same
    assert whole.shape == (7, len({token for _, token in trie.edges}))


MANY = [*[(1, 2, last) for last in range(3)], (1,), (1, 3), *[(first, 5, 6, 7) for first in range(2, 14)]]


def test_of_many_nodes_a_step_is_scored_among_the_labels() -> None:
    trie = build_label_trie(MANY, (8,))
    assert trie.among_labels
    torch.manual_seed(0)
    head, root = torch.randn(14, 5), torch.randn(3, 5)
    nodes = torch.randn(3, trie.n_nodes, 5, requires_grad=True)
    scores = label_log_probs(root, nodes.view(-1, 5), Head(head), trie)
    assert scores.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 3)
    first, second, read = trie.tokens.index(1), trie.tokens.index(2), nodes.detach()
    for row in range(3):
        at_root = (root[row] @ head[1:].T).log_softmax(-1)
        after_1 = (read[row, first] @ head[[2, 3, 8]].T).log_softmax(-1)
        after_2 = (read[row, second] @ head[[0, 1, 2]].T).log_softmax(-1)
        own = [at_root[0] + after_1[0] + after_2[last] for last in range(3)]
        expected = [*own, at_root[0] + after_1[2], at_root[0] + after_1[1], *at_root[1:]]
        assert scores[row].tolist() == pytest.approx([float(value) for value in expected], abs=1e-5)
    scores[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert nodes.grad is not None
    assert bool(nodes.grad.isfinite().all())


def test_of_many_nodes_those_of_a_label_are_enough_for_it() -> None:
    trie = build_label_trie(MANY, (8,))
    torch.manual_seed(0)
    head, root = Head(torch.randn(14, 5)), torch.randn(2, 5)
    nodes = torch.randn(2, trie.n_nodes, 5, requires_grad=True)
    whole = label_log_probs(root, nodes.view(-1, 5), head, trie)
    some = [trie.nodes_of([1]), trie.nodes_of([4])]
    own = torch.cat([nodes[row, list(which)] for row, which in enumerate(some)])
    part = label_log_probs(root, own, head, trie, some)
    assert [part[0, 1].item(), part[1, 4].item(), part[0, 9].item()] == pytest.approx(
        [whole[0, 1].item(), whole[1, 4].item(), whole[0, 9].item()]
    )


def test_labels_that_part_late_leave_no_gradient_that_is_not_a_number() -> None:
    trie = build_label_trie([*[(1, 2, 3, last) for last in range(2)], *[(9, n, 4, 5) for n in range(15)]], (8,))
    assert trie.among_labels
    nodes = torch.randn(2, trie.n_nodes, 5, requires_grad=True)
    scores = label_log_probs(torch.randn(2, 5), nodes.view(-1, 5), Head(torch.randn(16, 5)), trie)
    scores.sum().backward()  # type: ignore[no-untyped-call]
    assert bool(scores.isfinite().all())
    assert nodes.grad is not None
    assert bool(nodes.grad.isfinite().all())


def test_single_token_labels_sum_to_one_and_have_gradients() -> None:
    trie = build_label_trie([(1,), (2,), (6,)], (7,))
    root = torch.randn(4, 5, requires_grad=True)
    scores = label_log_probs(root, torch.empty(0, 5), Head(torch.randn(8, 5)), trie)
    assert np.exp(scores.detach().numpy()).sum(axis=1) == pytest.approx(np.ones(4))
    scores[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert root.grad is not None
    assert float(root.grad.abs().sum()) > 0


def test_what_was_not_read_counts_as_certain() -> None:
    trie = build_label_trie([(1, 4, 5), (1, 4, 6), (2, 3), (6,)], (7,))
    torch.manual_seed(0)
    head, root = Head(torch.randn(8, 5)), torch.randn(2, 5)
    nodes = torch.randn(2, trie.n_nodes, 5)
    whole = label_log_probs(root, nodes.view(-1, 5), head, trie)
    most = label_log_probs(root, torch.empty(0, 5), head, trie, [(), ()])
    assert most[:, 0].tolist() == most[:, 1].tolist()
    some = [trie.nodes_of([0, 1]), trie.nodes_of([2])]
    part = label_log_probs(root, torch.cat([nodes[0, list(some[0])], nodes[1, list(some[1])]]), head, trie, some)
    for row, exact in enumerate(([0, 1, 3], [2, 3])):
        for label in range(4):
            assert float(part[row, label]) == float((whole if label in exact else most)[row, label])
    assert bool((most[:, :3] > whole[:, :3]).all())
