"""Examples in, candidates out: the LLM is shown examples of one label and writes more (paper, section 3, step 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from handful.demonstrations import writer_demonstrations
from handful.llm.protocol import LLM, Sampling
from handful.prompts import generation_prompt
from handful.recipe import Recipe
from handful.records import Candidate, Example
from handful.run import fingerprint
from handful.seeding import derive_seed
from handful.task import Task

_HOPED_RATE = 0.5
"""Share of candidates expected to be kept before anything is known."""


@dataclass(frozen=True)
class Batch:
    """One prompt's worth of candidates to write: the unit that is computed and saved."""

    round_index: int
    label: str
    index: int
    """Number of the batch within its round and label."""
    fold: int
    """Which fold of the examples the prompt shows."""
    n_candidates: int


@dataclass(frozen=True)
class Tally:
    """How a label stands after the rounds so far."""

    written: int = 0
    kept: int = 0

    @property
    def acceptance_rate(self) -> float:
        """Share of the candidates that was kept, in [0, 1]."""
        return self.kept / self.written if self.written else 0.0


def plan_round(round_index: int, tallies: Mapping[str, Tally], recipe: Recipe) -> list[Batch]:
    """Plan what to write next: for every label short of N as much as its acceptance rate so far asks for.

    Returns:
        Batches in label order; none when every label has N or its budget of candidates is spent.
    """
    settings = recipe.generate
    n_folds = 2 if recipe.filter.cross_fit else 1
    batches = []
    for label, tally in tallies.items():
        missing = settings.synthetic_per_label - tally.kept
        room = settings.max_candidates_per_label - tally.written
        if missing <= 0 or room <= 0:
            continue
        rate = (tally.kept + _HOPED_RATE * 4) / (tally.written + 4)
        wanted = min(room, math.ceil(missing / rate))
        n_batches = math.ceil(wanted / settings.batch_size)
        for index in range(n_batches):
            size = min(settings.batch_size, room - index * settings.batch_size)
            batches.append(Batch(round_index, label, index, (round_index + index) % n_folds, size))
    return batches


def max_new_tokens(llm: LLM, task: Task, recipe: Recipe) -> int:
    """Return the token limit of a candidate: twice the longest real example, within the recipe's limit."""
    longest = max(llm.count_tokens([example.text for example in task.examples]))
    return min(recipe.generate.max_new_tokens, 2 * longest + 8)


def generate_batch(
    llm: LLM,
    task: Task,
    recipe: Recipe,
    batch: Batch,
    folds: Sequence[Sequence[Example]],
    token_limit: int,
    seed: int,
) -> list[Candidate]:
    """Write one batch of candidates, each from its own seed.

    Raises:
        ModelError: The prompt does not fit the model.
    """
    settings = recipe.generate
    place = (batch.round_index, batch.index)
    demonstrations = writer_demonstrations(
        folds[batch.fold], batch.label, settings.demonstrations_per_prompt, seed, *place
    )
    prompt = generation_prompt(
        task,
        batch.label,
        demonstrations,
        describe_label=settings.describe_label,
        prompt_format=recipe.prompt.format,
    )
    first = batch.index * settings.batch_size
    seeds = [
        derive_seed(seed, "generate", batch.label, batch.round_index, first + offset)
        for offset in range(batch.n_candidates)
    ]
    sampling = Sampling(token_limit, settings.temperature, settings.top_k, settings.num_beams)
    prompt_id = fingerprint([segment.text for segment in prompt.prefix])
    label_index = task.label_names.index(batch.label)
    return [
        Candidate(
            id=f"{batch.round_index}-{label_index}-{first + offset}",
            text=generation.text,
            intended_label=batch.label,
            seed=item_seed,
            prompt_id=prompt_id,
            fold=batch.fold,
            finished=generation.finished,
        )
        for offset, (item_seed, generation) in enumerate(zip(seeds, llm.generate(prompt, seeds, sampling), strict=True))
    ]
