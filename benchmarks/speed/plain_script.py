"""The whole job as a straightforward script would do it with transformers and peft: Patwa et al. 2024, to the letter.

Started by `whole_run.py` as a process of its own: a JSON object on stdin (`Request`), one on stdout (`Report`). Texts
are written with `model.generate`, checked with the plain loop over the whole ICL prompt, and learnt with Trainer.
Nothing of `handful.llm` is imported: neither its engine nor its allocator and thread settings.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.speed.hf_generate import hf_generate
from benchmarks.speed.hf_train import HfSettings, Row, train
from benchmarks.speed.plain import first_tokens, plain_label_log_probs, whole_prompts
from benchmarks.speed.texts import SEED, few_shot_task
from handful.encoding import encode, encode_text
from handful.prompts import classification_prefix, generation_prompt, targets
from handful.recipe import PRESETS
from handful.records import Example
from handful.seeding import stream
from handful.task import Task

_PAPER = PRESETS["paper"]


@dataclass(frozen=True)
class Request:
    """What is to be done."""

    model: str
    """Folder of the weights."""
    task: str
    """One of the paper's sets."""
    wanted: int
    """Kept texts per label."""
    most_candidates: dict[str, int]
    """Texts to write per label at most: what ours wrote."""
    max_new_tokens: int
    epochs: int
    """Of the training, in place of the paper's 100."""
    batch: int = 64
    """Texts side by side."""


@dataclass(frozen=True)
class Report:
    """What it took: wall seconds of each stage."""

    load_seconds: float
    write_seconds: float
    check_seconds: float
    train_seconds: float
    written: int
    kept: dict[str, int]
    rows: int
    steps: int


class Script:
    """The model, the task, and the seconds spent."""

    def __init__(self, request: Request) -> None:
        started = time.perf_counter()
        self.request = request
        self.tokenizer: Any = AutoTokenizer.from_pretrained(request.model)
        self.model: Any = AutoModelForCausalLM.from_pretrained(request.model, dtype="float32").eval()
        self.load_seconds = time.perf_counter() - started
        self.write_seconds = self.check_seconds = 0.0
        self.written = 0

    def run(self) -> Report:
        """Write, check and learn."""
        task = few_shot_task(self.request.task)
        kept = {label: self._kept(task, label) for label in task.label_names}
        examples = [*task.examples, *(Example(text, label) for label in kept for text in kept[label])]
        started = time.perf_counter()
        steps = self._learn(task, examples)
        return Report(
            load_seconds=self.load_seconds,
            write_seconds=self.write_seconds,
            check_seconds=self.check_seconds,
            train_seconds=time.perf_counter() - started,
            written=self.written,
            kept={label: len(texts) for label, texts in kept.items()},
            rows=len(examples),
            steps=steps,
        )

    def _kept(self, task: Task, label: str) -> list[str]:
        """Write batches for a label and keep what the model itself labels so, until there is enough."""
        kept: list[str] = []
        left = self.request.most_candidates[label]
        while left > 0 and len(kept) < self.request.wanted:
            count = min(left, self.request.batch)
            left -= count
            new = dict.fromkeys(text for text in self._written(task, label, count) if text)
            agreed = self._agreed(task, label, list(new))
            kept += [text for text in agreed if text not in kept]
        return kept[: self.request.wanted]

    def _written(self, task: Task, label: str, count: int) -> list[str]:
        started = time.perf_counter()
        prompt = generation_prompt(task, label, task.examples_of(label), describe_label=False)
        encoded = encode(prompt, self.tokenizer, max_text_tokens=512)
        ids = [*encoded.prefix_ids, *encoded.suffix_ids]
        vocabulary = range(self.model.config.vocab_size)
        special = set(self.tokenizer.all_special_ids)
        stop = [token for token in vocabulary if token in special or "\n" in self.tokenizer.decode([token])]
        rows = hf_generate(
            self.model,
            [ids] * count,
            stop,
            pad=self.tokenizer.pad_token_id,
            max_new_tokens=self.request.max_new_tokens,
            top_k=_PAPER.generate.top_k,
            temperature=_PAPER.generate.temperature,
            batch=self.request.batch,
        )
        lines = [self.tokenizer.decode(row, skip_special_tokens=True).split("\n", 1)[0].strip() for row in rows]
        self.written += count
        self.write_seconds += time.perf_counter() - started
        return lines

    def _agreed(self, task: Task, label: str, texts: Sequence[str]) -> list[str]:
        started = time.perf_counter()
        prefix = classification_prefix(task, stream(SEED, "script-order").sample(task.examples, len(task.examples)))
        prompts = whole_prompts(prefix, texts, self.tokenizer, 512)
        labels = first_tokens(targets(task), self.tokenizer)
        pad = self.tokenizer.pad_token_id
        scores: Any = plain_label_log_probs(self.model, prompts, labels, pad=pad) if texts else []
        wanted = task.label_names.index(label)
        agreed = [text for text, row in zip(texts, scores, strict=True) if int(row.argmax()) == wanted]
        self.check_seconds += time.perf_counter() - started
        return agreed

    def _learn(self, task: Task, examples: Sequence[Example]) -> int:
        recipe = _PAPER.train
        prefix = classification_prefix(task)
        prompts = whole_prompts(prefix, [example.text for example in examples], self.tokenizer, 512)
        labels, end = first_tokens(targets(task), self.tokenizer), encode_text("\n", self.tokenizer)
        places = [task.label_names.index(example.label) for example in examples]
        rows = [Row(ids, [labels[at], *end], at) for ids, at in zip(prompts, places, strict=True)]
        ordered = [row for epoch in range(self.request.epochs) for row in stream(epoch).sample(rows, len(rows))]
        steps = math.ceil(len(ordered) / recipe.batch_size)
        settings = HfSettings(
            loss=recipe.loss,
            label_ids=tuple(labels),
            pad=self.tokenizer.pad_token_id,
            target_modules=["q_proj", "v_proj"],
            rank=recipe.lora_rank,
            alpha=recipe.lora_alpha,
            dropout=recipe.lora_dropout,
            learning_rate=recipe.learning_rate,
            max_grad_norm=0.0,
            batch_size=recipe.batch_size,
        )
        train(self.model, ordered, settings, steps)
        return steps


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(Script(Request(**json.load(sys.stdin))).run())))
