"""The LLM in this process, through transformers: prompts' prefixes computed once, texts batched by token budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from handful.errors import ModelError
from handful.llm import shared_prefix
from handful.llm.label_scores import label_log_probs
from handful.llm.label_trie import LabelTrie, build_label_trie
from handful.llm.packing import token_budget_batches, tree_mask
from handful.llm.protocol import FloatArray, Generation, OnProgress, Sampling
from handful.llm.sampling import Step, beam_sample_rows, sample_rows
from handful.llm.shared_prefix import Prefix
from handful.prompts import EncodedPrompt, Prompt, encode, encode_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handful.llm.loading import LoadedModel

_MAX_PREFIXES = 16
"""Computed prefixes kept: 46 KB a token for SmolLM2-135M, so 500-token prompts are 23 MB each."""


class LocalLLM:
    """An `LLM` around a loaded transformers model.

    Args:
        loaded: Model and tokenizer.
        max_text_tokens: Longer queries lose their middle.
        share_prefix: Store a prefix once for all rows (CPU); None chooses by what the model supports.
        tokens_per_batch: Budget of own tokens in one forward pass.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        max_text_tokens: int = 512,
        share_prefix: bool | None = None,
        tokens_per_batch: int | None = None,
    ) -> None:
        self.loaded = loaded
        self.max_text_tokens = max_text_tokens
        self._tokenizer = loaded.tokenizer
        self._model = loaded.model.eval()
        self._on_cpu = loaded.device.type == "cpu"
        self._tokens_per_batch = tokens_per_batch or (1024 if self._on_cpu else 16384)
        self._share = self._supports_sharing() if share_prefix is None else share_prefix
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self._stop_tokens: Tensor | None = None

    @property
    def name(self) -> str:
        """How the user named the model."""
        return self.loaded.name

    @property
    def fingerprint(self) -> str:
        """Identity of the weights."""
        return self.loaded.fingerprint

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text by itself."""
        return [len(encode_text(text, self._tokenizer)) for text in texts]

    def prompt_tokens(self, prompt: Prompt) -> tuple[int, bool]:
        """Return a prompt's length in tokens, and whether its query had to be cut to fit."""
        encoded = self._encode(prompt, 0)
        return len(encoded.prefix_ids) + len(encoded.suffix_ids), encoded.cut

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], seeds: Sequence[int], sampling: Sampling) -> list[Generation]:
        """Sample one line for each prompt; see `LLM.generate`."""
        members: dict[tuple[int, ...], list[int]] = {}
        for index, prompt in enumerate(prompts):
            encoded = self._encode(prompt, sampling.max_new_tokens)
            members.setdefault(encoded.prefix_ids + encoded.suffix_ids, []).append(index)
        # Rows with different prompts advance together only where a prefix is not part of each row's cache.
        together = [members] if self._share else [{ids: rows} for ids, rows in members.items()]
        lines: dict[int, Generation] = {}
        for group in together:
            prefixes = [(self._prefix(ids), len(rows)) for ids, rows in group.items()]
            order = [index for rows in group.values() for index in rows]
            written = self._sample(prefixes, [seeds[index] for index in order], sampling)
            lines |= dict(zip(order, written, strict=True))
        return [lines[index] for index in range(len(prompts))]

    def _sample(
        self, prefixes: Sequence[tuple[Prefix, int]], seeds: Sequence[int], sampling: Sampling
    ) -> list[Generation]:
        logits = torch.cat([self._head(prefix.last_hidden).expand(count, -1) for prefix, count in prefixes])
        draw = sample_rows if sampling.num_beams == 1 else beam_sample_rows
        rows = draw(logits, self._stepper(prefixes), seeds, sampling, self._stop())
        lines = [self._tokenizer.decode(ids, skip_special_tokens=True).split("\n", 1)[0].strip() for ids, _ in rows]
        return [Generation(line, ended, len(ids)) for line, (ids, ended) in zip(lines, rows, strict=True)]

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Prompt], targets: Sequence[str], *, on_progress: OnProgress | None = None
    ) -> FloatArray:
        """Score every target after every prompt; see `LLM.score`."""
        trie = self.label_trie(targets)
        room = trie.n_nodes + 1
        encoded = [self._encode(prompt, room) for prompt in prompts]
        scores = np.empty((len(prompts), len(targets)))
        by_prefix: dict[tuple[int, ...], list[int]] = {}
        for index, prompt in enumerate(encoded):
            by_prefix.setdefault(prompt.prefix_ids, []).append(index)
        for prefix_ids, members in by_prefix.items():
            prefix = self._prefix(prefix_ids)
            members.sort(key=lambda index: (len(encoded[index].suffix_ids), index))
            for batch in token_budget_batches(
                members, [len(e.suffix_ids) + room for e in encoded], self._tokens_per_batch
            ):
                scores[batch] = self._score_batch(prefix, [encoded[i].suffix_ids for i in batch], trie)
                if on_progress is not None:
                    on_progress(len(batch))
        return scores

    def label_trie(self, targets: Sequence[str]) -> LabelTrie:
        """Return the labels' tokens as a tree."""
        end = encode_text("\n", self._tokenizer)
        return build_label_trie([encode_text(target, self._tokenizer) for target in targets], end)

    def _encode(self, prompt: Prompt, room: int) -> EncodedPrompt:
        return encode(
            prompt,
            self._tokenizer,
            max_text_tokens=self.max_text_tokens,
            context_length=self.loaded.context_length - room,
        )

    def _supports_sharing(self) -> bool:
        """Check on real weights that the shared path gives what the plain one gives; other layouts fall back."""
        if not self._on_cpu or not getattr(self._model, "_supports_attention_backend", False):
            return False
        ids = torch.arange(1, 13)[None] % self._model.config.vocab_size
        with torch.inference_mode():
            plain = self._model.base_model(ids, use_cache=False).last_hidden_state[0, -1]
            try:
                prefix = self._compute_prefix_shared(tuple(ids[0, :7].tolist()))
                hidden = self._forward_shared([(prefix, 1)], ids[:, 7:], torch.arange(7, 12)[None])[0, -1]
            except (TypeError, RuntimeError, ValueError, KeyError):
                return False
        return bool(torch.allclose(plain, hidden, rtol=1e-3, atol=1e-3 * float(plain.abs().max())))

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self._model.get_output_embeddings()(hidden)
        return logits

    def _prefix(self, prefix_ids: tuple[int, ...]) -> Prefix:
        if prefix_ids in self._prefixes:
            self._prefixes.move_to_end(prefix_ids)
            return self._prefixes[prefix_ids]
        compute = self._compute_prefix_shared if self._share else self._compute_prefix
        self._prefixes[prefix_ids] = compute(prefix_ids)
        if len(self._prefixes) > _MAX_PREFIXES:
            self._prefixes.popitem(last=False)
        return self._prefixes[prefix_ids]

    def _compute_prefix(self, prefix_ids: tuple[int, ...]) -> Prefix:
        cache = DynamicCache()
        ids = torch.tensor([prefix_ids], device=self.loaded.device)
        hidden = self._model.base_model(ids, past_key_values=cache, use_cache=True).last_hidden_state
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        return Prefix(len(prefix_ids), layers, hidden[:, -1])

    def _compute_prefix_shared(self, prefix_ids: tuple[int, ...]) -> Prefix:
        with self._attention():
            return self._compute_prefix(prefix_ids)

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """Switch the model to shared-prefix attention while inside; training and merging see the usual one."""
        config = self._model.config
        usual = config._attn_implementation
        config._attn_implementation = shared_prefix.NAME
        try:
            yield
        finally:
            config._attn_implementation = usual

    def _forward_shared(
        self,
        prefixes: Sequence[tuple[Prefix, int]],
        ids: Tensor,
        positions: Tensor,
        own_mask: Tensor | None = None,
        cache: Any = None,
    ) -> Tensor:
        with self._attention():
            hidden: Tensor = self._model.base_model(
                ids,
                position_ids=positions,
                past_key_values=cache,
                use_cache=cache is not None,
                shared_prefix=prefixes,
                own_mask=own_mask,
            ).last_hidden_state
        return hidden

    def _score_batch(self, prefix: Prefix, rows: Sequence[Sequence[int]], trie: LabelTrie) -> FloatArray:
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max()) + trie.n_nodes
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        positions = torch.arange(width).repeat(len(rows), 1)
        depths, nodes = torch.from_numpy(trie.depths()), torch.tensor(trie.tokens, dtype=torch.long)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
            ids[index, len(row) : len(row) + trie.n_nodes] = nodes
            positions[index, len(row) : len(row) + trie.n_nodes] = len(row) - 1 + depths
        positions += prefix.n_tokens
        mask = tree_mask(lengths, width, trie) if trie.n_nodes else None
        device = self.loaded.device
        if self._share:
            hidden = self._forward_shared([(prefix, len(rows))], ids, positions, mask)
        else:
            hidden = self._forward_expanded(prefix, ids.to(device), positions.to(device), mask)
        each = torch.arange(len(rows), device=device)
        ends = lengths.to(device)
        own = hidden[each, ends - 1]
        at_nodes = hidden[each[:, None], ends[:, None] + torch.arange(trie.n_nodes, device=device)]
        result = label_log_probs(own, at_nodes, self._model.get_output_embeddings().weight, trie)
        return result.double().cpu().numpy()

    def _forward_expanded(self, prefix: Prefix, ids: Tensor, positions: Tensor, own_mask: Tensor | None) -> Tensor:
        """Any device and architecture: the prefix's states are expanded to the rows."""
        cache = self._expanded(prefix, len(ids))
        mask = None
        if own_mask is not None:
            seen = torch.ones(*own_mask.shape[:3], prefix.n_tokens, dtype=torch.bool)
            mask = torch.cat([seen, own_mask], dim=-1).to(ids.device)
        hidden: Tensor = self._model.base_model(
            ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return hidden

    def _expanded(self, prefix: Prefix, n_rows: int) -> DynamicCache:
        cache = DynamicCache()
        for index, (keys, values) in enumerate(prefix.layers):
            cache.update(keys.expand(n_rows, -1, -1, -1), values.expand(n_rows, -1, -1, -1), index)
        return cache

    def _stepper(self, prefixes: Sequence[tuple[Prefix, int]]) -> Step:
        """Return the function that advances all rows by one token."""
        owner = torch.repeat_interleave(torch.tensor([count for _, count in prefixes]))  # prefix of each row
        before = torch.tensor([prefix.n_tokens for prefix, _ in prefixes])
        n_layers = len(prefixes[0][0].layers)
        cache: Any = None

        def step(tokens: Tensor, parents: Tensor) -> Tensor:
            nonlocal cache, owner
            if cache is None:
                rows = len(parents)
                cache = shared_prefix.row_cache(n_layers) if self._share else self._expanded(prefixes[0][0], rows)
            elif len(parents) != len(owner) or bool((parents != torch.arange(len(owner))).any()):
                cache.batch_select_indices(parents.to(tokens.device))
            owner = owner[parents]
            written = cache.get_seq_length() - (0 if self._share else prefixes[0][0].n_tokens)
            positions = (before[owner] + written)[:, None].to(tokens.device)
            if self._share:
                counts = owner.bincount(minlength=len(prefixes)).tolist()
                active = [(prefix, count) for (prefix, _), count in zip(prefixes, counts, strict=True) if count]
                hidden = self._forward_shared(active, tokens[:, None], positions, cache=cache)
            else:
                hidden = self._model.base_model(
                    tokens[:, None], position_ids=positions, past_key_values=cache, use_cache=True
                ).last_hidden_state
            return self._head(hidden[:, -1])

        return step

    def _stop(self) -> Tensor:
        """Return which tokens end a line, bool, shape (V,)."""
        if self._stop_tokens is None:
            vocab = self._tokenizer.get_vocab()
            n_rows = self._model.get_output_embeddings().weight.shape[0]
            stop = torch.zeros(n_rows, dtype=torch.bool)
            # Byte-level vocabularies spell the newline byte "Ċ", sentencepiece ones "<0x0A>".
            likely = [i for token, i in vocab.items() if any(mark in token for mark in ("\n", "Ċ", "<0x0A>"))]
            for token_id in likely:
                stop[token_id] = "\n" in self._tokenizer.decode([token_id])
            stop[[i for i in self._tokenizer.all_special_ids if i < n_rows]] = True
            if not stop.any():
                raise ModelError("the model's vocabulary has no line end and no end-of-text token")
            self._stop_tokens = stop.to(self.loaded.device)
        return self._stop_tokens
