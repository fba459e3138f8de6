"""The losses an adapter is tuned by, around the model they are taken from.

`label`: cross-entropy over the task's labels, as the classifier will score them. Of a large label tree, whose labels
add up to one as they are scored, only those that a text may have are read. `next_token`: over every token of prompt,
text and label (paper, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from handful.llm.decoder import Attend, Decoder
from handful.llm.head import head_of
from handful.llm.label_scores import label_log_probs
from handful.llm.label_trie import LabelTrie
from handful.llm.lora import frozen_with_gradient, tuned_decoder
from handful.llm.packing import Packed, pack
from handful.llm.protocol import Precision
from handful.llm.tree_attention import tree_attention
from handful.recipe import TrainRecipe
from handful.row_encoding import EncodedRow
from handful.training_plan import MOST_TOKENS_KEPT, TOKENS_PER_ROW, tokens_per_row

_MOST_BYTES_KEPT = 1 << 29
"""Of lower states; beyond it they are computed at every step."""
_COMPUTED_AT_ONCE = 16
"""Texts in one forward pass through the lower layers."""


_Read = tuple[tuple[int, ...], tuple[int, ...]]
"""A text's tokens, and the nodes behind it."""
_PREFIX: _Read = ((), ())


class AdapterLoss(nn.Module):
    """The model with its loss inside, so that one wrapped forward call is all a process group needs.

    Args:
        model: A PEFT model.
        trie: The labels.
        recipe: Which loss.
        precision: Of the products with the layers' frozen weights and in attention, where the layers are written out.
    """

    def __init__(self, model: Any, trie: LabelTrie, recipe: TrainRecipe, precision: Precision = "float32") -> None:
        super().__init__()
        self.model = model
        self._trie = trie
        self._recipe = recipe
        self._precision = precision
        self._decoder = tuned_decoder(model, precision=precision)
        head = head_of(model)
        self._n_lower = _untuned_layers(model) if self._decoder else 0
        self._lower: dict[_Read, Tensor] = {}
        own_product = self._decoder is not None and recipe.loss == "next_token"
        self._head_product = frozen_with_gradient(head.weight) if own_product else None

    def forward(self, examples: Sequence[EncodedRow]) -> Tensor:
        """Return the sum of the examples' weighted losses, a scalar."""
        return self._label_loss(examples) if self._recipe.loss == "label" else self._next_token_loss(examples)

    def tokens_per_row(self, n_prefix: int) -> int:
        """Return how many tokens of examples to give `forward` at most, behind a prefix of so many."""
        if self._decoder is None or self._recipe.loss != "label":  # a mask over all of a row, or a prefix for each
            return TOKENS_PER_ROW
        return tokens_per_row(n_prefix)

    def keep_lower_states(self, examples: Sequence[EncodedRow]) -> None:
        """Compute what the layers below the adapter make of examples behind one prefix, if there is room to keep it.

        In the order given and so many at a time, whatever a training resumed from: the last bits depend on it.
        """
        n_tokens = sum(example.n_tokens for example in examples)
        decoder = self._decoder
        if decoder is None or not self._n_lower or self._recipe.loss != "label":
            return
        if n_tokens * decoder.embeddings.shape[1] * decoder.embeddings.element_size() > _MOST_BYTES_KEPT:
            return
        for start in range(0, len(examples), _COMPUTED_AT_ONCE):
            some = examples[start : start + _COMPUTED_AT_ONCE]
            packed = self._packed(some)
            with torch.no_grad():
                states = self._lower_states(decoder, packed)
            self._lower.setdefault(_PREFIX, states[packed.owners == -1])
            for owner, example in enumerate(some):
                self._lower.setdefault(_read_of(example), states[packed.owners == owner])

    def _lower_states(self, decoder: Decoder, packed: Packed) -> Tensor:
        states = decoder.embeddings[packed.ids[0]]
        return decoder.through(range(self._n_lower), states, packed.positions[0], self._attend(decoder, packed))

    def _attend(self, decoder: Decoder, packed: Packed) -> Attend:
        return tree_attention(decoder.heads, packed, self._precision)

    def _packed(self, examples: Sequence[EncodedRow]) -> Packed:
        texts, nodes = [e.prompt.suffix_ids for e in examples], [e.nodes for e in examples]
        return pack(examples[0].prompt.prefix_ids, texts, self._trie, nodes)

    def _hidden(self, packed: Packed, wanted: Tensor, examples: Sequence[EncodedRow] = ()) -> Tensor:
        """Return the hidden states of some tokens, shape (W, D); `examples` are what was packed."""
        decoder, recompute = self._decoder, len(packed.owners) > MOST_TOKENS_KEPT
        if decoder is not None and self._lower:
            states = torch.cat([self._lower[_PREFIX], *(self._lower[_read_of(e)] for e in examples)])
            layers, attend = range(self._n_lower, len(decoder.layers)), self._attend(decoder, packed)
            states = decoder.through(layers, states, packed.positions[0], attend, wanted, recompute=recompute)
            return decoder.finish(states)
        if decoder is not None:
            attend = self._attend(decoder, packed)
            return decoder(packed.ids[0], packed.positions[0], attend, wanted, recompute=recompute)
        transformer = self.model.get_base_model().base_model
        device = next(self.parameters()).device
        hidden: Tensor = transformer(
            packed.ids.to(device),
            attention_mask=packed.mask.to(device),
            position_ids=packed.positions.to(device),
            use_cache=False,
        ).last_hidden_state[0]
        return hidden[wanted.to(device)]

    def _label_loss(self, examples: Sequence[EncodedRow]) -> Tensor:
        packed, nodes = self._packed(examples), [e.nodes for e in examples]
        at_nodes = [end + 1 + torch.arange(len(own)) for end, own in zip(packed.ends, nodes, strict=True)]
        hidden = self._hidden(packed, torch.cat([packed.ends, *at_nodes]), examples)
        ends, inner = hidden[: len(examples)], hidden[len(examples) :]
        scores = label_log_probs(ends, inner, head_of(self.model), self._trie, nodes)  # (B, C)
        if self._trie.is_small:
            scores = scores.log_softmax(-1)
        soft = torch.tensor([e.soft_target for e in examples], device=scores.device)
        weights = torch.tensor([e.weight for e in examples], device=scores.device)
        return -(weights * (soft * scores).sum(-1)).sum()

    def _next_token_loss(self, examples: Sequence[EncodedRow]) -> Tensor:
        texts = [(*e.prompt.suffix_ids, *e.target_ids) for e in examples]
        packed = pack(examples[0].prompt.prefix_ids, texts, None, share_prefix=False)
        follows = (packed.owners[1:] == packed.owners[:-1]).nonzero().squeeze(-1)
        hidden = self._hidden(packed, follows)
        logits = head_of(self.model).logits(hidden, product=self._head_product)  # (n, V)
        owners, next_ids = packed.owners[follows].to(logits.device), packed.ids[0, follows + 1].to(logits.device)
        losses = nn.functional.cross_entropy(logits, next_ids, reduction="none")
        counts = owners.bincount(minlength=len(examples))
        weights = torch.tensor([e.weight for e in examples], device=logits.device) / counts
        return (losses * weights[owners]).sum()


def _read_of(example: EncodedRow) -> _Read:
    return example.prompt.suffix_ids, example.nodes


def _untuned_layers(model: Any) -> int:
    """Return how many of the lowest layers have no part in an adapter."""
    layers = model.get_base_model().base_model.layers
    tuned = [any(p.requires_grad for p in layer.parameters()) for layer in layers]
    return tuned.index(True) if any(tuned) else 0
