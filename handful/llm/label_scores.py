"""From hidden states at the text's end and the label nodes to a score per label; shared by scoring and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from handful.llm.head import Head
from handful.llm.label_trie import ROOT, LabelTrie


def label_log_probs(
    root_hidden: Tensor, node_hidden: Tensor, head: Head, trie: LabelTrie, nodes: Sequence[Sequence[int]] | None = None
) -> Tensor:
    """Sum the log-probabilities of each label's tokens.

    Only label rows of the head are computed at the text's end, where the rest of the vocabulary cancels; the whole
    vocabulary only at the nodes inside multi-token labels, if a step there is not scored among the labels too.

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
    behind = nodes or [range(trie.n_nodes)] * n_texts
    places = torch.full((n_texts, trie.n_nodes), -1)
    read = 0
    for row, own in enumerate(behind):
        places[row, list(own)] = torch.arange(read, read + len(own))
        read += len(own)
    log_probs, column = _node_log_probs(node_hidden, head, trie, [node for own in behind for node in own])
    at = places[:, [node for node, _ in trie.edges]].to(log_probs.device)
    columns = torch.tensor([column[token] for _, token in trie.edges], device=log_probs.device)
    return log_probs[at.clamp(min=0), columns].masked_fill(at < 0, 0.0)


def _node_log_probs(
    node_hidden: Tensor, head: Head, trie: LabelTrie, which: Sequence[int]
) -> tuple[Tensor, Mapping[int, int] | range]:
    """Return log-probabilities at states of the nodes `which`, shape (N, C), and the column of a token."""
    if not trie.among_labels:
        log_probs = head.logits(node_hidden).log_softmax(-1)
        return log_probs, range(log_probs.shape[1])
    column = {token: index for index, token in enumerate(sorted({token for _, token in trie.edges}))}
    follows = torch.zeros(trie.n_nodes, len(column), dtype=torch.bool)
    for node, token in trie.edges:
        follows[node, column[token]] = True
    follows[~follows.any(dim=1)] = True  # read for what comes after it: no step is scored there, and none may be NaN
    logits = head.logits(node_hidden, list(column))
    mask = follows[torch.tensor(which)].to(logits.device)
    return logits.masked_fill(~mask, float("-inf")).log_softmax(-1), column
