"""From hidden states at the text's end and the label nodes to a score per label; shared by scoring and training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from handful.llm.head import Head
from handful.llm.label_trie import ROOT, LabelTrie


def label_log_probs(
    root_hidden: Tensor, node_hidden: Tensor, head: Head, trie: LabelTrie, nodes: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """Sum the log-probabilities of each label's tokens.

    Only label rows of the head are computed at the text's end, where the rest of the vocabulary cancels; the whole
    vocabulary only at the nodes inside multi-token labels.

    Args:
        root_hidden: Hidden state at each text's last position, shape (B, D).
        node_hidden: Hidden states at the label nodes that were read, those of one text after those of the one before,
            shape (N, D).
        head: Of the model.
        trie: The labels' tokens.
        nodes: Which nodes were read behind each text; None is all of them.

    Returns:
        Log-probabilities in nats, shape (B, n_labels), differentiable. A step whose node was not read counts as
        certain: what a label has then is the most it can have.
    """
    root = head.logits(root_hidden, trie.root_tokens).log_softmax(-1)  # (B, n_root_tokens)
    column = {token: index for index, token in enumerate(trie.root_tokens)}
    inner = _edge_log_probs(len(root), node_hidden, head, trie, nodes) if len(node_hidden) else None  # (B, n_edges)
    edge = {step: index for index, step in enumerate(trie.edges)}
    scores = []
    for path in trie.steps:
        terms = [root[:, column[token]] for node, token in path if node == ROOT]
        if inner is not None:
            terms += [inner[:, edge[step]] for step in path if step[0] != ROOT]
        scores.append(torch.stack(terms).sum(0))
    return torch.stack(scores, dim=1)


def _edge_log_probs(
    n_texts: int, node_hidden: Tensor, head: Head, trie: LabelTrie, nodes: Sequence[Sequence[int]] | None
) -> Tensor:
    """Return the log-probability of every edge behind every text, 0 where its node was not read, (B, n_edges)."""
    places = torch.full((n_texts, trie.n_nodes), -1)
    read = 0
    for row, own in enumerate(nodes or [range(trie.n_nodes)] * n_texts):
        places[row, list(own)] = torch.arange(read, read + len(own))
        read += len(own)
    log_probs = head.logits(node_hidden).log_softmax(-1)  # (N, V)
    at = places[:, [node for node, _ in trie.edges]].to(log_probs.device)
    tokens = torch.tensor([token for _, token in trie.edges], device=log_probs.device)
    return log_probs[at.clamp(min=0), tokens].masked_fill(at < 0, 0.0)
