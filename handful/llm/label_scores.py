"""From hidden states at the text's end and the label nodes to a score per label; shared by scoring and training."""

from __future__ import annotations

import torch
from torch import Tensor

from handful.llm.head import Head
from handful.llm.label_trie import ROOT, LabelTrie


def label_log_probs(root_hidden: Tensor, node_hidden: Tensor, head: Head, trie: LabelTrie) -> Tensor:
    """Sum the log-probabilities of each label's tokens.

    Only label rows of the head are computed at the text's end, where the rest of the vocabulary cancels; the whole
    vocabulary only at the nodes inside multi-token labels.

    Args:
        root_hidden: Hidden state at each text's last position, shape (B, D).
        node_hidden: Hidden states at the label nodes, shape (B, n_nodes, D).
        head: Of the model.
        trie: The labels' tokens.

    Returns:
        Log-probabilities in nats, shape (B, n_labels), differentiable.
    """
    root = head.logits(root_hidden, trie.root_tokens).log_softmax(-1)  # (B, n_root_tokens)
    column = {token: index for index, token in enumerate(trie.root_tokens)}
    nodes = head.logits(node_hidden).log_softmax(-1) if trie.n_nodes else None  # (B, n_nodes, V)
    scores = []
    for path in trie.steps:
        terms = [root[:, column[token]] for node, token in path if node == ROOT]
        if nodes is not None:
            terms += [nodes[:, node, token] for node, token in path if node != ROOT]
        scores.append(torch.stack(terms).sum(0))
    return torch.stack(scores, dim=1)
