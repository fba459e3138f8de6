import numpy as np
import pytest
import torch

from handful.llm.head import Head
from handful.llm.label_scores import label_log_probs
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
