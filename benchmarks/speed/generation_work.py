"""What is written in the generation benchmarks: TREC prompts as recipe `default` makes them, 32 rows of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.settings import Settings
from benchmarks.speed.texts import few_shot_task
from handful.demonstrations import writer_demonstrations
from handful.encoding import encode
from handful.generate import max_new_tokens
from handful.llm.local import LocalLLM
from handful.llm.protocol import Generation, Sampling
from handful.prompts import Prompt, generation_prompt
from handful.recipe import PRESETS
from handful.seeding import derive_seed

_SET = "trec"
_ROWS = 32
"""Of each label: the recipe's batch size."""
_RECIPE = PRESETS["default"]


@dataclass(frozen=True)
class Work:
    """The prompts of one repeat; every label has one of its own."""

    prompts: tuple[Prompt, ...]
    rows_per_prompt: int
    seed: int

    @property
    def repeated(self) -> list[Prompt]:
        """One prompt for each row."""
        return [prompt for prompt in self.prompts for _ in range(self.rows_per_prompt)]

    @property
    def seeds(self) -> list[int]:
        """One seed for each row."""
        return [derive_seed(self.seed, "bench-row", row) for row in range(len(self.repeated))]

    def ids(self, tokenizer: Any) -> list[list[int]]:
        """Return the token ids of each prompt."""
        encoded = [encode(prompt, tokenizer, max_text_tokens=512) for prompt in self.prompts]
        return [[*prompt.prefix_ids, *prompt.suffix_ids] for prompt in encoded]


def work(repeat: int, settings: Settings) -> Work:
    """Return a repeat's prompts, with demonstrations of its own: no side may find them computed already."""
    task, shown = few_shot_task(_SET), _RECIPE.generate.demonstrations_per_prompt
    prompts = []
    for label in task.label_names:
        demonstrations = writer_demonstrations(task.examples, label, shown, repeat)
        prompts.append(generation_prompt(task, label, demonstrations))
    return Work(tuple(prompts), settings.count(_ROWS), repeat)


def sampling(llm: LocalLLM) -> Sampling:
    """Return the recipe's sampling: temperature 1, top 50, at most twice the longest example."""
    limit = max_new_tokens(llm, few_shot_task(_SET), _RECIPE)
    return Sampling(limit, _RECIPE.generate.temperature, _RECIPE.generate.top_k)


def stop_ids(tokenizer: Any, vocabulary: int) -> list[int]:
    """Return the tokens that end a text: every one with a line end, and the special ones."""
    special = set(tokenizer.all_special_ids)
    return [token for token in range(vocabulary) if token in special or "\n" in tokenizer.decode([token])]


def kept(row: Sequence[int], stop: frozenset[int]) -> list[int]:
    """Return a row's tokens up to the first that ends it, which is the last one counted."""
    for index, token in enumerate(row):
        if token in stop:
            return list(row[: index + 1])
    return list(row)


def n_tokens(generations: Sequence[Generation]) -> int:
    """Return how many tokens we kept, counted in the same way."""
    return sum(generation.n_tokens for generation in generations)


def line(row: Sequence[int], tokenizer: Any) -> str:
    """Return the text of a row's kept tokens, as `LocalLLM` reads it."""
    text: str = tokenizer.decode(row, skip_special_tokens=True)
    return text.split("\n", 1)[0].strip()
