"""The labels' token sequences as a tree, so that one forward pass scores them all, however they overlap.

After a text, the tokens of all labels (less each last one) follow in one row; an attention mask lets every node see the
text and its own ancestors only. Labels of one token need no node at all: the text's last position scores them.

Many labels of many tokens would be hundreds of nodes. Of them only those are read where labels part, and what may
follow there is all that a step is scored among, as it is at the text's end: what labels have in common, and the rest of
a label once no other begins so, is certain then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

ROOT = -1
"""The position a text ends at; nodes are numbered from 0."""
FEW_NODES = 32
"""So many are read whole behind every text; 77 labels of four words have 250."""


@dataclass(frozen=True)
class LabelTrie:
    """Label tokens as tree nodes and, per label, the (node, token) steps that spell it.

    Node i stands for token `tokens[i]` read after the path to its parent; a step (node, token) scores `token` at the
    node's position.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    steps: tuple[tuple[tuple[int, int], ...], ...]
    among_labels: bool = False
    """Whether a step is scored among what may follow at its node, not the whole vocabulary; the first always is. The
    labels' probabilities add up to one then."""

    @property
    def n_nodes(self) -> int:
        """Number of extra positions each text needs."""
        return len(self.tokens)

    @property
    def root_tokens(self) -> tuple[int, ...]:
        """Distinct first tokens of the labels, sorted."""
        return tuple(sorted({path[0][1] for path in self.steps}))

    @property
    def is_small(self) -> bool:
        """Whether tuning reads all nodes behind every text."""
        return self.n_nodes <= FEW_NODES

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Distinct steps (node, token) of all labels, but for the first ones."""
        return tuple(dict.fromkeys(step for path in self.steps for step in path if step[0] != ROOT))

    def nodes_of(self, labels: Iterable[int]) -> tuple[int, ...]:
        """Return the nodes that must be read for some labels, by index: parents before children."""
        found: set[int] = set()
        for node in {node for label in labels for node, _ in self.steps[label]}:
            while node != ROOT and node not in found:
                found.add(node)
                node = self.parents[node]
        return tuple(sorted(found))

    def depths(self) -> NDArray[np.int64]:
        """Return each node's distance from the text's last position (1 for a first token), shape (n_nodes,)."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(1 if parent == ROOT else depths[parent] + 1)
        return np.array(depths, dtype=np.int64)

    def visibility(self) -> NDArray[np.bool_]:
        """Return which node sees which: itself and its ancestors, shape (n_nodes, n_nodes)."""
        seen = np.eye(self.n_nodes, dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent != ROOT:
                seen[node] |= seen[parent]
        return seen


def build_label_trie(label_ids: Sequence[Sequence[int]], end_ids: Sequence[int]) -> LabelTrie:
    """Build the tree of the labels' token ids.

    Args:
        label_ids: Token ids of each label, none empty.
        end_ids: What follows a label in the prompt layout (a line end). Where one label is the beginning of another
            ("New" would otherwise always beat "New York") it is appended to every label; of many nodes, to the shorter
            label alone, which has nothing but the longer one's next token beside it.

    Returns:
        All nodes, if they are few, and later tokens scored among the vocabulary; else those where labels part.

    Raises:
        ValueError: Two labels have the same tokens, or one has none.
    """
    paths = [tuple(ids) for ids in label_ids]
    if any(not path for path in paths) or len(set(paths)) != len(paths):
        raise ValueError("labels must be distinct and non-empty after tokenization")
    begins_another = [any(a != b and b[: len(a)] == a for b in paths) for a in paths]
    whole = _tree([(*path, *end_ids) for path in paths] if any(begins_another) else paths, among_labels=False)
    if whole.is_small:
        return whole
    ended = [(*path, *end_ids) if begins else path for path, begins in zip(paths, begins_another, strict=True)]
    return _tree(ended, among_labels=True)


def _tree(paths: Sequence[tuple[int, ...]], *, among_labels: bool) -> LabelTrie:
    follow: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for path in paths:
        for depth, token in enumerate(path):
            follow[path[:depth]].add(token)
    tokens: list[int] = []
    parents: list[int] = []
    node_of: dict[tuple[int, ...], int] = {(): ROOT}
    steps = []
    for path in paths:
        scored = [d for d in range(len(path)) if d == 0 or not among_labels or len(follow[path[:d]]) > 1]
        for depth in range(1, scored[-1] + 1):
            if path[:depth] not in node_of:
                node_of[path[:depth]] = len(tokens)
                tokens.append(path[depth - 1])
                parents.append(node_of[path[: depth - 1]])
        steps.append(tuple((node_of[path[:depth]], path[depth]) for depth in scored))
    return LabelTrie(tuple(tokens), tuple(parents), tuple(steps), among_labels)
