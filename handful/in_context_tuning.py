"""In-context tuning: from the real examples alone the LLM learns to label with real examples in its prompt.

Each step shows half of the examples, drawn anew, and asks for the labels of the other half: the same few examples make
many different exercises, and none is answered from memory of its own prompt. (Chen et al. 2022, "Meta-learning via
Language Model In-context Tuning", and Min et al. 2022, "MetaICL", tune so over many tasks; here it is the one.)
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from random import Random

from handful.prompts import classification_prefix, one_line, targets
from handful.recipe import FilterRecipe, Recipe, TrainRecipe
from handful.records import Example, TrainingExample
from handful.seeding import stream
from handful.task import Task
from handful.training_plan import Episode, TrainingPlan
from handful.words import count_bytes

_BYTES_SHOWN = 1000
"""Of the demonstrations of a prompt, in UTF-8: tokens in any script; one of each label is shown whatever its size."""
_MOST_BYTES_SHOWN = 2000
"""Where they are more than that, of the longest only the beginning is shown: better than beginning and end."""
_LEAST_BYTES_OF_EACH = 100
"""That much of each is shown whatever their number: with fifty, judges are worse (docs/experiments.md, 2026-11-27)."""
_BYTES_ASKED = 2000
"""Of the texts a step asks for."""
_MOST_BYTES_ASKED = 4000
"""Of as many texts as there are labels: behind a long prompt, a step asks for more."""
_LEAST_EPOCHS = 5
"""Whatever `judge_max_steps` says: of twenty labels no worse than ten; 25 examples of each of four labels gain from
more than the two of 24 steps (docs/experiments.md, 2026-11-27)."""
_LEAST_ASKINGS = 80
"""Likewise, where texts are so long that a step asks for one or two: as many as two labels' judges have."""
_MOST_OF_THE_LEAST = 125
"""Steps that these may make of it: more were never measured, and of long texts each takes seconds."""


def judge_plan(task: Task, recipe: Recipe, seed: int) -> TrainingPlan:
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
        episodes=tuple(episode(task, seed, step) for step in range(n_steps(task, recipe.filter))),
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
    """Return as many of a half's examples as a prompt shows: the first of each label, the same number if it can be.

    Where they are too much, of the longest only the beginning is shown.
    """
    most = max(1, _texts_within(_BYTES_SHOWN, task) // len(task.labels))
    shown: dict[str, list[Example]] = {label: [] for label in task.label_names}
    for example in half:
        if len(shown[example.label]) < most:
            shown[example.label].append(example)
    chosen = [example for example in half if example in shown[example.label]]
    share = max(_LEAST_BYTES_OF_EACH, _fair_share([_size(example) for example in chosen]))
    return [dataclasses.replace(example, text=_beginning(example.text, share)) for example in chosen]


def n_steps(task: Task, settings: FilterRecipe) -> int:
    """Return how many steps a judge's tuning takes: its epochs, or `judge_max_steps` or the least there must be."""
    n, asked = len(task.examples), _asked_per_step(task)
    steps = math.ceil(settings.judge_epochs * n / asked)
    if settings.judge_max_steps is None:
        return steps
    askings = math.ceil(max(_LEAST_EPOCHS * n, _LEAST_ASKINGS) / asked)
    least = max(len(task.labels), min(askings, _MOST_OF_THE_LEAST))
    return min(steps, max(settings.judge_max_steps, least))


def episode(task: Task, seed: int, step: int) -> Episode:
    """Return a step of a tuning on the task's examples: what is shown and what is asked."""
    shown, asked = split_halves(task, stream(seed, "episode", step))
    return Episode(classification_prefix(task, shown_of(task, shown)), _asked(task, asked))


def _asked(task: Task, half: Sequence[Example]) -> tuple[TrainingExample, ...]:
    """Return as many of a half's examples as a step asks for.

    Where labels have unequally many, they are taken in turn and weigh the same in every step, so that a judge does not
    lean to what there are more examples of.
    """
    most = _asked_per_step(task)
    if len({len(task.examples_of(label)) for label in task.label_names}) == 1:
        return tuple(TrainingExample(example.text, example.label, "real") for example in half[:most])
    earlier: Counter[str] = Counter()
    turns = []
    for example in half:
        turns.append(earlier[example.label])
        earlier[example.label] += 1
    chosen = [half[place] for place in sorted(range(len(half)), key=turns.__getitem__)[:most]]
    counts = Counter(example.label for example in chosen)
    mean = len(chosen) / len(counts)
    return tuple(TrainingExample(e.text, e.label, "real", mean / counts[e.label]) for e in chosen)


def _asked_per_step(task: Task) -> int:
    within, of_labels = _texts_within(_BYTES_ASKED, task), min(len(task.labels), _texts_within(_MOST_BYTES_ASKED, task))
    return max(1, min(max(within, of_labels), len(task.examples) // 2))


def _texts_within(n_bytes: int, task: Task) -> int:
    """Return how many texts of the task's mean length have so many bytes together."""
    return n_bytes * len(task.examples) // max(1, sum(map(_size, task.examples)))


def _size(example: Example) -> int:
    """Return how many bytes of an example count: of a very long one little more is read (`prompt.max_text_tokens`)."""
    return min(_BYTES_ASKED, count_bytes(example.text))


def _fair_share(sizes: Sequence[int]) -> int:
    """Return the most bytes that each may have so that all together have `_MOST_BYTES_SHOWN` at most."""
    left = _MOST_BYTES_SHOWN
    for index, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - index)
        if size > share:
            return share
        left -= size
    return max(sizes)


def _beginning(text: str, n_bytes: int) -> str:
    """Return a text, or the characters that are whole in its first bytes."""
    line = one_line(text).encode("utf-8", "surrogatepass")
    return text if len(line) <= n_bytes else line[:n_bytes].decode("utf-8", "ignore")
