"""From hidden states at the text's end and the label nodes to a score per label; shared by scoring and training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from handful.llm.head import Head
from handful.llm.label_trie import ROOT, LabelTrie

_NODES_AT_ONCE = 256
"""Their logits over a vocabulary of 150,000, with the softmax of them, are 0.4 GB of a GPU; a CPU has them at once."""


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
    if trie.among_labels:
        logits, columns = _logits_among_labels(node_hidden, head, trie, [node for own in behind for node in own])
        log_probs = logits.log_softmax(-1)
    else:
        at_once = len(node_hidden) if node_hidden.device.type == "cpu" else _NODES_AT_ONCE
        log_probs, columns = _among_all_tokens(node_hidden, head, trie, at_once)
    at = places[:, [node for node, _ in trie.edges]].to(log_probs.device)
    column = torch.tensor(columns, device=log_probs.device)
    return log_probs[at.clamp(min=0), column].masked_fill(at < 0, 0.0)


def _among_all_tokens(node_hidden: Tensor, head: Head, trie: LabelTrie, at_once: int) -> tuple[Tensor, list[int]]:
    """Return log-probabilities over the vocabulary of the tokens that edges have, (N, C), and each edge's column."""
    tokens = sorted({token for _, token in trie.edges})
    parts = [head.logits(part).log_softmax(-1)[:, tokens] for part in torch.split(node_hidden, at_once)]
    return torch.cat(parts), [tokens.index(token) for _, token in trie.edges]


def _logits_among_labels(
    node_hidden: Tensor, head: Head, trie: LabelTrie, which: Sequence[int]
) -> tuple[Tensor, list[int]]:
    """Return logits at states of the nodes `which`, -inf for what may not follow, (N, C), and each edge's column.

    A node that is read for what comes after it has no step, and a row of -inf alone: its softmax is no number, which
    nobody reads, and its gradient is masked like that of all that may not follow.
    """
    tokens = sorted({token for _, token in trie.edges})
    columns = [tokens.index(token) for _, token in trie.edges]
    follows = torch.zeros(trie.n_nodes, len(tokens), dtype=torch.bool)
    for (node, _), column in zip(trie.edges, columns, strict=True):
        follows[node, column] = True
    logits = head.logits(node_hidden, tokens)
    return logits.masked_fill(~follows[torch.tensor(which)].to(logits.device), float("-inf")), columns
