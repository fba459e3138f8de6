"""The losses an adapter is tuned by, around the model they are taken from.

`label`: cross-entropy over the task's labels, as the classifier will score them. `next_token`: over every token of
prompt, text and label (paper, section 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from handful.llm.label_scores import label_log_probs
from handful.llm.label_trie import LabelTrie
from handful.llm.lora import frozen_with_gradient, tuned_decoder
from handful.llm.packing import Packed, pack
from handful.llm.protocol import Precision
from handful.llm.tree_attention import tree_attention
from handful.prompts import EncodedPrompt
from handful.recipe import TrainRecipe


@dataclass(frozen=True)
class EncodedRow:
    """One row ready for the loss."""

    prompt: EncodedPrompt
    target_ids: tuple[int, ...]
    soft_target: tuple[float, ...]
    weight: float


class AdapterLoss(nn.Module):
    """The model with its loss inside, so that one wrapped forward call is all a process group needs.

    Args:
        model: A PEFT model.
        trie: The labels.
        recipe: Which loss.
        precision: Of the products with the layers' frozen weights, where the layers are written out.
    """

    def __init__(self, model: Any, trie: LabelTrie, recipe: TrainRecipe, precision: Precision = "float32") -> None:
        super().__init__()
        self.model = model
        self._trie = trie
        self._recipe = recipe
        self._decoder = tuned_decoder(model, precision=precision)
        head = model.get_base_model().get_output_embeddings().weight
        self._head_logits = frozen_with_gradient(head) if self._decoder and recipe.loss == "next_token" else None

    def forward(self, examples: Sequence[EncodedRow]) -> Tensor:
        """Return the sum of the examples' weighted losses, a scalar."""
        return self._label_loss(examples) if self._recipe.loss == "label" else self._next_token_loss(examples)

    def _hidden(self, packed: Packed, wanted: Tensor) -> Tensor:
        """Return the hidden states of some tokens, shape (W, D)."""
        if self._decoder is not None:
            attend = tree_attention(self._decoder.heads, packed)
            return self._decoder(packed.ids[0], packed.positions[0], attend, wanted)
        transformer = self.model.get_base_model().base_model
        device = next(self.parameters()).device
        hidden: Tensor = transformer(
            packed.ids.to(device),
            attention_mask=packed.mask.to(device),
            position_ids=packed.positions.to(device),
            use_cache=False,
        ).last_hidden_state[0]
        return hidden[wanted.to(device)]

    def _head(self) -> Tensor:
        weight: Tensor = self.model.get_base_model().get_output_embeddings().weight
        return weight

    def _label_loss(self, examples: Sequence[EncodedRow]) -> Tensor:
        packed = pack(examples[0].prompt.prefix_ids, [e.prompt.suffix_ids for e in examples], self._trie)
        nodes = packed.ends[:, None] + 1 + torch.arange(self._trie.n_nodes)
        hidden = self._hidden(packed, torch.cat([packed.ends, nodes.flatten()]))
        ends, inner = hidden[: len(examples)], hidden[len(examples) :].view(*nodes.shape, hidden.shape[-1])
        scores = label_log_probs(ends, inner, self._head(), self._trie)  # (B, C)
        soft = torch.tensor([e.soft_target for e in examples], device=scores.device)
        weights = torch.tensor([e.weight for e in examples], device=scores.device)
        return -(weights * (soft * scores.log_softmax(-1)).sum(-1)).sum()

    def _next_token_loss(self, examples: Sequence[EncodedRow]) -> Tensor:
        texts = [(*e.prompt.suffix_ids, *e.target_ids) for e in examples]
        packed = pack(examples[0].prompt.prefix_ids, texts, None, share_prefix=False)
        follows = (packed.owners[1:] == packed.owners[:-1]).nonzero().squeeze(-1)
        hidden = self._hidden(packed, follows)
        logits = self._head_logits(hidden) if self._head_logits else (hidden @ self._head().T).float()  # (n, V)
        owners, next_ids = packed.owners[follows].to(logits.device), packed.ids[0, follows + 1].to(logits.device)
        losses = nn.functional.cross_entropy(logits, next_ids, reduction="none")
        counts = owners.bincount(minlength=len(examples))
        weights = torch.tensor([e.weight for e in examples], device=logits.device) / counts
        return (losses * weights[owners]).sum()
