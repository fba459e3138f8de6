"""In-context tuning: from the real examples alone the LLM learns to label with real examples in its prompt.

Each step shows half of the examples, drawn anew, and asks for the labels of the other half: the same few examples make
many different exercises, and none is answered from memory of its own prompt. (Chen et al. 2022, "Meta-learning via
Language Model In-context Tuning", and Min et al. 2022, "MetaICL", tune so over many tasks; here it is the one.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

from handful.prompts import classification_prefix, targets
from handful.recipe import Recipe, TrainRecipe
from handful.records import Example, TrainingExample
from handful.seeding import stream
from handful.task import Task
from handful.training_plan import Episode, TrainingPlan

_MOST_BYTES_SHOWN = 1000
"""Of the demonstrations of a prompt, in UTF-8: tokens in any script; one of each label is shown at least."""
_MOST_BYTES_ASKED = 2000
"""Of the texts a step asks for."""


def tuning_plan(task: Task, recipe: Recipe, seed: int) -> TrainingPlan:
    """Return the plan of an in-context tuning on the task's examples.

    How the judge is tuned is not how the classifier is: the recipe's `train` has no say.
    """
    # All layers: judges tuned in the upper half alone label worse (experiments, 2026-11-25).
    settings = TrainRecipe(learning_rate=recipe.filter.judge_learning_rate, lora_layer_share=1.0)
    rows = tuple(TrainingExample(example.text, example.label, "real") for example in task.examples)
    return TrainingPlan(
        prefix=classification_prefix(task),
        targets=targets(task, recipe.prompt.format),
        labels=task.label_names,
        rows=rows,
        train=settings,
        prompt=recipe.prompt,
        seed=seed,
        episodes=tuple(episode(task, seed, step) for step in range(n_steps(task, recipe.filter.judge_epochs))),
    )


def split_halves(task: Task, draw: Random) -> tuple[list[Example], list[Example]]:
    """Split the examples of every label in two, at random; where their number is odd, either half may have more.

    Args:
        task: With at least two examples per label.
        draw: Where chance comes from.

    Returns:
        Two lists in random order, each with every label.
    """
    first: list[Example] = []
    second: list[Example] = []
    for label in task.label_names:
        own = task.examples_of(label)
        shuffled = draw.sample(own, len(own))
        middle = (len(own) + draw.randrange(2)) // 2
        first += shuffled[:middle]
        second += shuffled[middle:]
    return draw.sample(first, len(first)), draw.sample(second, len(second))


def shown_of(task: Task, half: Sequence[Example]) -> list[Example]:
    """Return as many of a half's examples as a prompt shows: the first of each label, the same number if it can be."""
    most = max(1, _texts_within(_MOST_BYTES_SHOWN, task) // len(task.labels))
    shown: dict[str, list[Example]] = {label: [] for label in task.label_names}
    for example in half:
        if len(shown[example.label]) < most:
            shown[example.label].append(example)
    return [example for example in half if example in shown[example.label]]


def n_steps(task: Task, epochs: int) -> int:
    """Return how many steps ask for every example so often, on average."""
    asked = min(_most_asked(task), len(task.examples) // 2)
    return math.ceil(epochs * len(task.examples) / asked)


def _most_asked(task: Task) -> int:
    return max(1, _texts_within(_MOST_BYTES_ASKED, task))


def _texts_within(n_bytes: int, task: Task) -> int:
    """Return how many texts of the task's mean length have so many bytes together."""
    sizes = [len(example.text.encode("utf-8", "surrogatepass")) for example in task.examples]
    return n_bytes * len(sizes) // max(1, sum(sizes))


def episode(task: Task, seed: int, step: int) -> Episode:
    """Return a step of a tuning on the task's examples: what is shown and what is asked."""
    shown, asked = split_halves(task, stream(seed, "episode", step))
    rows = tuple(TrainingExample(e.text, e.label, "real") for e in asked[: _most_asked(task)])
    return Episode(classification_prefix(task, shown_of(task, shown)), rows)
