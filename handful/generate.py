"""Examples in, candidates out: the LLM is shown examples of one label and writes more (paper, section 3, step 1)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from handful.demonstrations import writer_demonstrations
from handful.llm.protocol import LLM, Sampling
from handful.prompts import Prompt, generation_prompt, one_line
from handful.recipe import Recipe
from handful.records import Attribute, Candidate, Example
from handful.run import fingerprint
from handful.seeding import derive_seed, stream
from handful.task import Task

_HOPED_RATE = 0.5
"""Share of candidates expected to be kept before anything is known."""
_HOPED_TEXTS = 4
"""How many candidates' worth that hope counts."""
_TEXTS_PER_DRAW = 4
"""Texts written for one draw of attributes."""


@dataclass(frozen=True)
class Batch:
    """One prompt's worth of candidates to write."""

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


def plan_round(round_index: int, tallies: Mapping[str, Tally], recipe: Recipe) -> list[Batch]:
    """Plan what to write next: for every label short of N as much as its acceptance rate so far asks for.

    Returns:
        Batches in label order; none when every label has N or its budget of candidates is spent.
    """
    settings = recipe.generate
    n_folds = 2 if recipe.filter.cross_fit else 1
    # A prompt with attributes is for a few texts: drawing them anew is what makes the texts differ.
    size_limit = settings.batch_size if settings.attributes == "none" else min(settings.batch_size, _TEXTS_PER_DRAW)
    batches = []
    for label, tally in tallies.items():
        missing = settings.synthetic_per_label - tally.kept
        room = settings.most_candidates - tally.written
        if missing <= 0 or room <= 0:
            continue
        rate = (tally.kept + _HOPED_RATE * _HOPED_TEXTS) / (tally.written + _HOPED_TEXTS)
        wanted = min(room, math.ceil(missing / rate))
        for index in range(math.ceil(wanted / size_limit)):
            size = min(size_limit, room - index * size_limit)
            batches.append(Batch(round_index, label, index, (round_index + index) % n_folds, size))
    return batches


def max_new_tokens(llm: LLM, task: Task, recipe: Recipe) -> int:
    """Return the token limit of a candidate: twice the longest real example, within the recipe's limit."""
    longest = max(_tokens_read(llm, task))
    # A longer text would lose its middle when it is read.
    return min(recipe.generate.max_new_tokens or recipe.prompt.max_text_tokens, 2 * longest + 8)


def _tokens_read(llm: LLM, task: Task) -> list[int]:
    """Return how many tokens of each real example there are, white space as it is read."""
    return llm.count_tokens([one_line(example.text) for example in task.examples])


def generate_candidates(
    llm: LLM,
    task: Task,
    recipe: Recipe,
    batches: Sequence[Batch],
    folds: Sequence[Sequence[Example]],
    seed: int,
    *,
    attributes: Mapping[str, Sequence[Attribute]] | None = None,
    earlier: Mapping[str, Sequence[str]] | None = None,
) -> list[Candidate]:
    """Write some batches of candidates side by side, each candidate from its own seed.

    Args:
        llm: The writer.
        task: The task.
        recipe: How it is done.
        batches: What to write.
        folds: See `demonstrations.split_folds`.
        seed: Run seed.
        attributes: By label: each batch is asked for a text of a value of each.
        earlier: By label: texts whose words are made less likely, if the recipe suppresses logits.

    Raises:
        ModelError: A prompt does not fit the model.
    """
    settings = recipe.generate
    prompts = [_prompt(task, recipe, batch, folds, seed, (attributes or {}).get(batch.label, ())) for batch in batches]
    limit = max_new_tokens(llm, task, recipe)
    sampling = Sampling(limit, settings.temperature, settings.top_k, settings.num_beams, settings.logit_suppression)
    blanks = [
        _blank(task, batch, prompt, batch.index * settings.batch_size + offset, seed)
        for batch, prompt in zip(batches, prompts, strict=True)
        for offset in range(batch.n_candidates)
    ]
    repeated = [prompt for batch, prompt in zip(batches, prompts, strict=True) for _ in range(batch.n_candidates)]
    before = [(earlier or {}).get(batch.label, ()) for batch in batches for _ in range(batch.n_candidates)]
    # Where a real text is cut when it is read, one that ends there is no more cut than that.
    as_real = limit == recipe.prompt.max_text_tokens < max(_tokens_read(llm, task))
    generations = llm.generate(repeated, [blank.seed for blank in blanks], sampling, before if earlier else None)
    return [
        dataclasses.replace(
            blank, text=generation.text, finished=generation.finished or as_real, n_tokens=generation.n_tokens
        )
        for blank, generation in zip(blanks, generations, strict=True)
    ]


def _prompt(
    task: Task,
    recipe: Recipe,
    batch: Batch,
    folds: Sequence[Sequence[Example]],
    seed: int,
    attributes: Sequence[Attribute],
) -> Prompt:
    settings = recipe.generate
    shown = writer_demonstrations(
        folds[batch.fold], batch.label, settings.demonstrations_per_prompt, seed, batch.round_index, batch.index
    )
    draw = stream(seed, "attributes", batch.label, batch.round_index, batch.index)
    return generation_prompt(
        task,
        batch.label,
        shown,
        describe_label=settings.describe_label,
        attributes={attribute.name: draw.choice(attribute.values) for attribute in attributes},
        prompt_format=recipe.prompt.format,
    )


def _blank(task: Task, batch: Batch, prompt: Prompt, index: int, seed: int) -> Candidate:
    """Return a candidate's place in the plan, before it has a text."""
    return Candidate(
        id=f"{batch.round_index}-{task.label_names.index(batch.label)}-{index}",
        text="",
        intended_label=batch.label,
        seed=derive_seed(seed, "generate", batch.label, batch.round_index, index),
        prompt_id=fingerprint([segment.text for segment in prompt.prefix]),
        fold=batch.fold,
    )
