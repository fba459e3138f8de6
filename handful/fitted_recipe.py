"""A recipe as a task has it: how many texts a label gets is a matter of the labels' number and the texts' length."""

from __future__ import annotations

import dataclasses
from statistics import fmean

from handful.recipe import Recipe
from handful.task import Task
from handful.words import count_bytes

_LONG_BYTES = 150
"""N is halved where the examples have more than this on average, and again for every doubling: a text of 236 bytes
takes twice as long to write, judge and learn as one of 110, and 36 of them are worth as much as 72
(docs/experiments.md, 2026-11-28)."""
_BYTES_PER_TOKEN = 4
"""About, in English text."""
_LEAST_OF_LONG = 20
"""About the paper's N: no label gets fewer for the length of its texts."""


def fit_recipe(recipe: Recipe, task: Task) -> Recipe:
    """Return the recipe with the N it has for a task, which holds then: `generate.synthetic_in_all` is null.

    Without that limit, as where the user gave N, the recipe is returned as it is.
    """
    most = recipe.generate.synthetic_in_all
    if most is None:
        return recipe
    of_length = n_of_length(recipe.generate.synthetic_per_label, example_bytes(task, recipe))
    n = min(of_length, max(1, most // len(task.labels)))
    settings = dataclasses.replace(recipe.generate, synthetic_per_label=n, synthetic_in_all=None)
    return dataclasses.replace(recipe, generate=settings)


def n_of_length(n: int, text_bytes: float) -> int:
    """Return how many texts of so many bytes a label gets where it would get n short ones.

    >>> [n_of_length(72, text_bytes) for text_bytes in (110, 236, 1000)]
    [72, 36, 20]
    """
    least, bound = min(n, _LEAST_OF_LONG), _LONG_BYTES
    while n > least and text_bytes > bound:
        n, bound = max(least, n // 2), 2 * bound
    return n


def example_bytes(task: Task, recipe: Recipe) -> float:
    """Return the mean length of the task's examples in bytes, as far as they are read."""
    read = _BYTES_PER_TOKEN * recipe.prompt.max_text_tokens
    return fmean(min(read, count_bytes(example.text)) for example in task.examples)
