"""The two ways to run a model's layers: written out for the CPU, or as transformers runs them anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from handful.llm.attention import Opening, Prefix, Reading, RowCache, Writing
from handful.llm.decoder import Decoder, build_decoder
from handful.llm.linear import Linear, frozen_linear
from handful.llm.protocol import Precision

StepStates = Callable[[Tensor, Tensor], Tensor]
"""(tokens (B,), rows of the previous step that they continue (B,)) -> hidden states (B, D)."""


class Body(Protocol):
    """Token ids in, hidden states out, behind prefixes that are computed once."""

    @property
    def mixes_prefixes(self) -> bool:
        """Whether rows with different prefixes can be written side by side."""
        ...

    def open(self, ids: Sequence[int]) -> Prefix:
        """Compute a prefix."""
        ...

    def read(
        self, prefix: Prefix, ids: Tensor, positions: Tensor, lengths: Tensor, mask: Tensor | None, wanted: Tensor
    ) -> Tensor:
        """Return hidden states of rows behind a prefix.

        Args:
            prefix: What all rows begin with.
            ids: Right-padded token ids, shape (B, W).
            positions: Of each token, prefix included, shape (B, W).
            lengths: How many tokens of each row are real, shape (B,).
            mask: Which own token sees which, bool, shape (B, 1, W, W); None is causal.
            wanted: Which tokens' states are needed, as indices into B * W, shape (N,).

        Returns:
            Shape (N, D).
        """
        ...

    def stepper(self, prefixes: Sequence[tuple[Prefix, int]]) -> StepStates:
        """Return the function that advances rows by one token; `prefixes` in row order, with their row counts."""
        ...


@dataclass(frozen=True)
class DecoderBody:
    """The layers written out (`decoder.py`): CPU, in any `Precision`."""

    decoder: Decoder
    mixes_prefixes: bool = True

    def open(self, ids: Sequence[int]) -> Prefix:
        """See `Body.open`."""
        opening = Opening(self.decoder.heads)
        last = torch.tensor([len(ids) - 1])
        hidden = self.decoder(torch.tensor(ids), torch.arange(len(ids)), opening, last)
        return Prefix(len(ids), tuple(opening.layers), hidden)

    def read(
        self, prefix: Prefix, ids: Tensor, positions: Tensor, lengths: Tensor, mask: Tensor | None, wanted: Tensor
    ) -> Tensor:
        """See `Body.read`."""
        real = (torch.arange(ids.shape[1]) < lengths[:, None]).flatten()
        places = real.cumsum(0) - 1  # at padding: the row's last token, which no other one is followed by
        if bool(real.all()):
            attend = Reading(self.decoder.heads, prefix, len(ids), ids.shape[1], mask)
            return self.decoder(ids.flatten(), positions.flatten(), attend, wanted)
        slots = real.nonzero().squeeze(-1)
        attend = Reading(self.decoder.heads, prefix, len(ids), ids.shape[1], mask, places, slots)
        return self.decoder(ids.flatten()[slots], positions.flatten()[slots], attend, places[wanted])

    def stepper(self, prefixes: Sequence[tuple[Prefix, int]]) -> StepStates:
        """See `Body.stepper`."""
        owner = torch.repeat_interleave(torch.tensor([count for _, count in prefixes]))  # prefix of each row
        before = torch.tensor([prefix.n_tokens for prefix, _ in prefixes])
        caches = [RowCache() for _ in self.decoder.layers]

        def step(tokens: Tensor, parents: Tensor) -> Tensor:
            nonlocal owner
            if not _same_rows(parents, len(owner)):
                owner = owner[parents]
                for cache in caches:
                    cache.select(parents)
            counts = owner.bincount(minlength=len(prefixes)).tolist()
            active = [(prefix, count) for (prefix, _), count in zip(prefixes, counts, strict=True) if count]
            attend = Writing(self.decoder.heads, active, caches)
            return self.decoder(tokens, before[owner] + caches[0].n_tokens, attend)

        return step


@dataclass(frozen=True)
class TransformersBody:
    """A transformers model as it is, on any device; a prefix's states are expanded to the rows."""

    model: Any
    mixes_prefixes: bool = False

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.model.get_output_embeddings().weight.device
        return device

    def open(self, ids: Sequence[int]) -> Prefix:
        """See `Body.open`."""
        cache = DynamicCache()
        tokens = torch.tensor([list(ids)], device=self._device)
        hidden = self.model.base_model(tokens, past_key_values=cache, use_cache=True).last_hidden_state
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        return Prefix(len(ids), layers, hidden[:, -1])

    def read(
        self, prefix: Prefix, ids: Tensor, positions: Tensor, lengths: Tensor, mask: Tensor | None, wanted: Tensor
    ) -> Tensor:
        """See `Body.read`."""
        if mask is not None:
            seen = torch.ones(*mask.shape[:3], prefix.n_tokens, dtype=torch.bool)
            mask = torch.cat([seen, mask], dim=-1).to(self._device)
        hidden: Tensor = self.model.base_model(
            ids.to(self._device),
            attention_mask=mask,
            position_ids=positions.to(self._device),
            past_key_values=_expanded(prefix, len(ids)),
            use_cache=True,
        ).last_hidden_state
        return hidden.flatten(0, 1)[wanted.to(self._device)]

    def stepper(self, prefixes: Sequence[tuple[Prefix, int]]) -> StepStates:
        """See `Body.stepper`; the rows have one prefix."""
        ((prefix, n_rows),) = prefixes
        cache: Any = None

        def step(tokens: Tensor, parents: Tensor) -> Tensor:
            nonlocal cache, n_rows
            if cache is None:
                cache = _expanded(prefix, len(parents))
            elif not _same_rows(parents, n_rows):
                cache.batch_select_indices(parents.to(tokens.device))
            n_rows = len(parents)
            positions = torch.full((n_rows, 1), cache.get_seq_length(), device=tokens.device)
            hidden: Tensor = self.model.base_model(
                tokens[:, None], position_ids=positions, past_key_values=cache, use_cache=True
            ).last_hidden_state
            return hidden[:, -1]

        return step


def choose_body(model: Any, *, precision: Precision = "float32") -> Body:
    """Return the written-out layers where the model is of a known kind and they give what transformers gives."""

    def make_linear(modules: Sequence[Any]) -> Linear:
        return frozen_linear(*side_by_side(modules), precision)

    decoder = build_decoder(model, make_linear)
    if decoder is None:
        return TransformersBody(model)
    body = DecoderBody(decoder)
    return body if precision != "float32" or _agrees(body, model) else TransformersBody(model)


def side_by_side(modules: Sequence[nn.Linear]) -> tuple[Tensor, Tensor | None]:
    """Return the weight and bias of one layer that writes the outputs of several next to each other."""
    weight = torch.cat([module.weight.detach() for module in modules])
    if all(module.bias is None for module in modules):
        return weight, None
    biases = [m.weight.new_zeros(len(m.weight)) if m.bias is None else m.bias.detach() for m in modules]
    return weight, torch.cat(biases)


def drop_layer_weights(model: Any) -> None:
    """Free a model's layers once they are packed elsewhere; its embeddings stay, it cannot be run any more."""
    for module in model.base_model.layers.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(torch.empty(0), requires_grad=False)


def _agrees(body: DecoderBody, model: Any) -> bool:
    """Check on the real weights, prefix and own tokens: what is not told apart by its configuration falls back."""
    ids = torch.arange(1, 13) % model.config.vocab_size
    with torch.inference_mode():
        plain = model.base_model(ids[None], use_cache=False).last_hidden_state[0, -1]
        prefix = body.open(ids[:7].tolist())
        own = body.read(prefix, ids[None, 7:], torch.arange(7, 12)[None], torch.tensor([5]), None, torch.tensor([4]))[0]
    return bool(torch.allclose(plain, own, rtol=1e-3, atol=1e-3 * float(plain.abs().max())))


def _expanded(prefix: Prefix, n_rows: int) -> DynamicCache:
    cache = DynamicCache()
    for index, (keys, values) in enumerate(prefix.layers):
        cache.update(keys.expand(n_rows, -1, -1, -1), values.expand(n_rows, -1, -1, -1), index)
    return cache


def _same_rows(parents: Tensor, n_rows: int) -> bool:
    return len(parents) == n_rows and bool((parents == torch.arange(n_rows)).all())
