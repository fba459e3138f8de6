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
    scores = label_log_probs(root, nodes, Head(head), trie)
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
    scores = label_log_probs(root, torch.empty(4, 0, 5), Head(torch.randn(8, 5)), trie)
    assert np.exp(scores.detach().numpy()).sum(axis=1) == pytest.approx(np.ones(4))
    scores[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    assert root.grad is not None
    assert float(root.grad.abs().sum()) > 0
