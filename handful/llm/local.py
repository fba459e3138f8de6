"""The LLM in this process: prompts' prefixes computed once, texts batched by token budget."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from handful.encoding import EncodedPrompt, encode, encode_text
from handful.errors import ModelError
from handful.llm.attention import Prefix
from handful.llm.bodies import Body, DecoderBody, TransformersBody, choose_body, drop_layer_weights
from handful.llm.head import head_of
from handful.llm.label_scores import label_log_probs
from handful.llm.label_trie import LabelTrie, build_label_trie
from handful.llm.linear import Linear, frozen_linear
from handful.llm.loading import LoadedModel
from handful.llm.memory import bytes_per_token, tokens_within
from handful.llm.packing import token_budget_batches, tree_mask
from handful.llm.protocol import FloatArray, Generation, OnProgress, Precision, Sampling
from handful.llm.sampling import Step, Suppressed, beam_sample_rows, sample_rows
from handful.prompts import Prompt

_MAX_PREFIXES = 16
"""Computed prefixes kept: 46 KB a token for SmolLM2-135M, so 500-token prompts are 23 MB each."""
_MOST_PREFIX_BYTES = 1 << 30
"""Of their states: a 7B model's take half a megabyte a token."""
_MOST_TOKENS_ON_GPU = 16384
_CONTENT_LETTERS = 4
"""A token of so many letters is a content token: most words that hold a sentence together are shorter."""


class LocalLLM:
    """An `LLM` around a loaded transformers model.

    Raises ModelError if `precision` cannot be had.

    Args:
        loaded: Model and tokenizer.
        max_text_tokens: Longer queries lose their middle.
        own_layers: Whether to run the layers written out for the CPU, where the model is of a known kind.
        precision: What matrix products are computed in, where the layers are written out.
        keep_model: Whether the transformers model must stay usable; without it its copy of the layers is freed.
        tokens_per_batch: Budget of tokens that are computed together, instead of what the device suggests.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        max_text_tokens: int = 512,
        own_layers: bool = True,
        precision: Precision = "float32",
        keep_model: bool = True,
        tokens_per_batch: int | None = None,
    ) -> None:
        self.loaded = loaded
        self.max_text_tokens = max_text_tokens
        self._tokenizer = loaded.tokenizer
        self._model = loaded.model.eval()
        on_cpu, on_cuda = loaded.device.type == "cpu", loaded.device.type == "cuda"
        # None of devices that do not say what is free.
        held = tokens_within(loaded.model, torch.cuda.mem_get_info(loaded.device)[0]) if on_cuda else None
        read = 1024 if on_cpu else min(_MOST_TOKENS_ON_GPU, held or _MOST_TOKENS_ON_GPU)
        self._tokens_per_batch = tokens_per_batch or read
        self._most_written = tokens_per_batch or held
        """Tokens of rows that are written side by side through transformers; None is no limit."""
        self._body: Body
        self._body = choose_body(self._model, precision=precision) if own_layers else TransformersBody(self._model)
        if precision != "float32" and not isinstance(self._body, DecoderBody):
            raise ModelError(
                f"precision {precision!r} is for models of a known kind on the CPU, not for {loaded.name!r} here",
                mend="Leave --precision out; on a GPU --dtype and --load-in-4bit say what is computed in.",
            )
        if not keep_model and isinstance(self._body, DecoderBody):
            drop_layer_weights(self._model)
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self._stop_tokens: Tensor | None = None
        self._packed_head: Linear | None = None

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

    def prompt_tokens(self, prompt: Prompt, targets: Sequence[str] = ()) -> tuple[int, bool]:
        """Return a prompt's length in tokens, and whether its query was cut; see `LLM.prompt_tokens`."""
        encoded = self._encode(prompt, self.label_trie(targets).n_nodes + 1 if targets else 0)
        return len(encoded.prefix_ids) + len(encoded.suffix_ids), encoded.cut

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        sampling: Sampling,
        earlier: Sequence[Sequence[str]] | None = None,
    ) -> list[Generation]:
        """Sample one line for each prompt; see `LLM.generate`."""
        members: dict[tuple[int, ...], list[int]] = {}
        for index, prompt in enumerate(prompts):
            encoded = self._encode(prompt, sampling.max_new_tokens)
            members.setdefault(encoded.prefix_ids + encoded.suffix_ids, []).append(index)
        # Rows with different prompts advance together only where a prefix is not part of each row's cache.
        together = [members] if self._body.mixes_prefixes else self._within_memory(members, sampling)
        lines: dict[int, Generation] = {}
        for group in together:
            prefixes = [(self._prefix(ids), len(rows)) for ids, rows in group.items()]
            order = [index for rows in group.values() for index in rows]
            suppressed = None
            if earlier is not None and sampling.logit_suppression:
                suppressed = self._suppressed([earlier[index] for index in order], sampling.logit_suppression)
            written = self._sample(prefixes, [seeds[index] for index in order], sampling, suppressed)
            lines |= dict(zip(order, written, strict=True))
        return [lines[index] for index in range(len(prompts))]

    def _within_memory(
        self, members: dict[tuple[int, ...], list[int]], sampling: Sampling
    ) -> list[dict[tuple[int, ...], list[int]]]:
        """Cut the rows of each prefix into groups whose states, the prefix's in every row, fit the memory."""
        groups = []
        for ids, rows in members.items():
            at_once = len(rows)
            if self._most_written is not None:
                at_once = max(1, self._most_written // (sampling.num_beams * (len(ids) + sampling.max_new_tokens)))
            groups += [{ids: rows[start : start + at_once]} for start in range(0, len(rows), at_once)]
        return groups

    def _suppressed(self, earlier: Sequence[Sequence[str]], strength: float) -> Suppressed:
        """Count the content tokens of the earlier texts; rows with the same texts share a count."""
        groups: dict[tuple[str, ...], int] = {}
        owners = [groups.setdefault(tuple(texts), len(groups)) for texts in earlier]
        penalties = torch.zeros(len(groups), self._model.get_output_embeddings().weight.shape[0])
        for texts, group in groups.items():
            counts = Counter(token for text in texts for token in encode_text(f" {text}", self._tokenizer))
            for token, count in counts.items():
                if sum(map(str.isalpha, self._tokenizer.convert_ids_to_tokens(token))) >= _CONTENT_LETTERS:
                    penalties[group, token] = strength * math.log1p(count)
        return Suppressed(penalties.to(self.loaded.device), torch.tensor(owners))

    def _sample(
        self,
        prefixes: Sequence[tuple[Prefix, int]],
        seeds: Sequence[int],
        sampling: Sampling,
        suppressed: Suppressed | None,
    ) -> list[Generation]:
        logits = torch.cat([self._head(prefix.last_hidden).expand(count, -1) for prefix, count in prefixes])
        draw = sample_rows if sampling.num_beams == 1 else beam_sample_rows
        rows = draw(logits, self._stepper(prefixes), seeds, sampling, self._stop(), suppressed)
        lines = [self._tokenizer.decode(ids, skip_special_tokens=True).split("\n", 1)[0].strip() for ids, _ in rows]
        return [Generation(line, ended, len(ids)) for line, (ids, ended) in zip(lines, rows, strict=True)]

    @torch.inference_mode()
    def score(
        self, prompts: Sequence[Prompt], targets: Sequence[str], *, on_progress: OnProgress | None = None
    ) -> FloatArray:
        """Score every target after every prompt; see `LLM.score`."""
        trie = self.label_trie(targets)
        scores = np.empty((len(prompts), len(targets)))
        for prefix, batch, rows in self._batches(prompts, trie.n_nodes + 1):
            scores[batch] = self._score_batch(prefix, rows, trie)
            if on_progress is not None:
                on_progress(len(batch))
        return scores

    @torch.inference_mode()
    def states(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Return the last hidden state at the end of each prompt; see `ReadsStates.states`."""
        states = np.empty((len(prompts), self._model.get_output_embeddings().weight.shape[1]))
        for prefix, batch, rows in self._batches(prompts, 1):
            states[batch] = self._read(prefix, rows, None)[0].cpu().double().numpy()
        return states

    def _batches(
        self, prompts: Sequence[Prompt], room: int
    ) -> Iterator[tuple[Prefix, list[int], list[tuple[int, ...]]]]:
        """Yield prefix, indices and own tokens of prompts that are read together, `room` for more tokens in each."""
        encoded = [self._encode(prompt, room) for prompt in prompts]
        by_prefix: dict[tuple[int, ...], list[int]] = {}
        for index, prompt in enumerate(encoded):
            by_prefix.setdefault(prompt.prefix_ids, []).append(index)
        for prefix_ids, members in by_prefix.items():
            prefix = self._prefix(prefix_ids)
            members.sort(key=lambda index: (len(encoded[index].suffix_ids), index))
            # Through transformers every row has a copy of the prefix's states.
            copied = 0 if isinstance(self._body, DecoderBody) else prefix.n_tokens
            sizes = [len(e.suffix_ids) + room + copied for e in encoded]
            for batch in token_budget_batches(members, sizes, self._tokens_per_batch):
                yield prefix, batch, [encoded[index].suffix_ids for index in batch]

    def label_trie(self, targets: Sequence[str]) -> LabelTrie:
        """Return the labels' tokens as a tree."""
        end = encode_text("\n", self._tokenizer)
        return build_label_trie([encode_text(target, self._tokenizer) for target in targets], end)

    def _encode(self, prompt: Prompt, room: int) -> EncodedPrompt:
        return encode(
            prompt,
            self._tokenizer,
            max_text_tokens=self.max_text_tokens,
            context_length=self.loaded.context_length,
            room=room,
        )

    def _head(self, hidden: Tensor) -> Tensor:
        """Return logits over the whole vocabulary, (B, V)."""
        head = head_of(self._model)
        if self._packed_head is None and isinstance(self._body, DecoderBody):
            self._packed_head = frozen_linear(head.weight, None)
        return head.logits(hidden, product=self._packed_head)

    def _prefix(self, prefix_ids: tuple[int, ...]) -> Prefix:
        if prefix_ids in self._prefixes:
            self._prefixes.move_to_end(prefix_ids)
            return self._prefixes[prefix_ids]
        self._prefixes[prefix_ids] = self._body.open(prefix_ids)
        while len(self._prefixes) > 1 and self._too_many_prefixes():
            self._prefixes.popitem(last=False)
        return self._prefixes[prefix_ids]

    def _too_many_prefixes(self) -> bool:
        n_bytes = bytes_per_token(self._model) * sum(prefix.n_tokens for prefix in self._prefixes.values())
        return len(self._prefixes) > _MAX_PREFIXES or n_bytes > _MOST_PREFIX_BYTES

    def _score_batch(self, prefix: Prefix, rows: Sequence[Sequence[int]], trie: LabelTrie) -> FloatArray:
        ends, inner = self._read(prefix, rows, trie)
        result = label_log_probs(ends, inner, head_of(self._model), trie)
        return result.cpu().double().numpy()

    def _read(self, prefix: Prefix, rows: Sequence[Sequence[int]], trie: LabelTrie | None) -> tuple[Tensor, Tensor]:
        """Return the states at the rows' ends, (B, D), and at the label tree's nodes behind them, (B * n_nodes, D)."""
        n_nodes = 0 if trie is None else trie.n_nodes
        lengths = torch.tensor([len(row) for row in rows])
        width = int(lengths.max()) + n_nodes
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        positions = torch.arange(width).repeat(len(rows), 1)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        if trie is not None:
            depths, nodes = torch.from_numpy(trie.depths()), torch.tensor(trie.tokens, dtype=torch.long)
            for index, row in enumerate(rows):
                ids[index, len(row) : len(row) + n_nodes] = nodes
                positions[index, len(row) : len(row) + n_nodes] = len(row) - 1 + depths
        positions += prefix.n_tokens
        mask = tree_mask(lengths, width, trie) if trie is not None and n_nodes else None
        starts = torch.arange(len(rows)) * width
        at_nodes = (starts + lengths)[:, None] + torch.arange(n_nodes)  # (B, n_nodes)
        wanted = torch.cat([starts + lengths - 1, at_nodes.flatten()])
        hidden = self._body.read(prefix, ids, positions, lengths + n_nodes, mask, wanted)
        return hidden[: len(rows)], hidden[len(rows) :]

    def _stepper(self, prefixes: Sequence[tuple[Prefix, int]]) -> Step:
        """Return the function that advances all rows by one token."""
        advance = self._body.stepper(prefixes)

        def step(tokens: Tensor, parents: Tensor) -> Tensor:
            return self._head(advance(tokens, parents))

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
