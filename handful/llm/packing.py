"""How texts are laid out for one forward pass: padded to a token budget, or several in one row.

Packed training rows: several examples in one row, so that no padding and no repeated instruction is computed.

`[prefix][text 1][label nodes][text 2][label nodes]…` with a mask under which a text sees the prefix and itself, and a
label node also its ancestors. Gradients are exactly those of separate rows (Prefix Grouper, arXiv 2506.05433). With
`share_prefix=False` every example brings its own prefix: the plain layout, still without padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handful.llm.label_trie import LabelTrie


@dataclass(frozen=True)
class Packed:
    """One row of several examples."""

    ids: Tensor
    """Token ids, shape (1, T)."""
    positions: Tensor
    """Position of each token within its own example, shape (1, T)."""
    mask: Tensor
    """Which token sees which, bool, shape (1, 1, T, T)."""
    ends: Tensor
    """Index of each example's last own token before the label nodes, shape (B,)."""
    owners: Tensor
    """Which example a token belongs to, -1 for a shared prefix, shape (T,)."""


def pack(
    prefix: Sequence[int],
    texts: Sequence[Sequence[int]],
    trie: LabelTrie | None,
    nodes: Sequence[Sequence[int]] | None = None,
    *,
    share_prefix: bool = True,
) -> Packed:
    """Lay out examples in one row.

    Args:
        prefix: Token ids all examples begin with, not empty.
        texts: Each example's own token ids.
        trie: Label nodes to put behind each text; None for none.
        nodes: Which of them behind which text; None is all of them.
        share_prefix: Whether the prefix stands there once or before every text.
    """
    shared = list(prefix) if share_prefix else []
    own_prefix = [] if share_prefix else list(prefix)
    behind = nodes or [range(trie.n_nodes if trie else 0)] * len(texts)
    ids, positions, owners, ends, starts = list(shared), list(range(len(shared))), [-1] * len(shared), [], []
    depths = trie.depths().tolist() if trie else []
    for owner, text in enumerate(texts):
        own = [*own_prefix, *text]
        starts.append(len(ids))
        ids += own
        positions += range(len(shared), len(shared) + len(own))
        ends.append(len(ids) - 1)
        ids += [trie.tokens[node] for node in behind[owner]] if trie else []
        positions += [len(shared) + len(own) - 1 + depths[node] for node in behind[owner]]
        owners += [owner] * (len(own) + len(behind[owner]))
    owner_of = torch.tensor(owners)
    causal = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    mask = causal & ((owner_of[:, None] == owner_of[None]) | (owner_of[None] == -1))
    if trie and trie.n_nodes:
        visible = torch.from_numpy(trie.visibility())
        for end, own_nodes in zip(ends, behind, strict=True):
            places = slice(end + 1, end + 1 + len(own_nodes))
            which = torch.tensor(list(own_nodes), dtype=torch.long)
            mask[places, places] = visible[which][:, which]
    return Packed(torch.tensor([ids]), torch.tensor([positions]), mask[None, None], torch.tensor(ends), owner_of)


def tree_mask(lengths: Tensor, width: int, trie: LabelTrie) -> Tensor:
    """Return which own token sees which, bool, shape (B, 1, width, width): causal text, label nodes as a tree."""
    mask = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(lengths), 1, 1)
    visible = torch.from_numpy(trie.visibility())
    for row, length in enumerate(lengths.tolist()):
        mask[row, length : length + trie.n_nodes, length : length + trie.n_nodes] = visible
    return mask[:, None]


def token_budget_batches(members: Sequence[int], sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut length-sorted members into batches of at most `budget` padded tokens."""
    batch: list[int] = []
    for index in members:
        if batch and sizes[index] * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
