"""Which examples stand in which prompt: folds for cross-fitting, a random draw for the writer, order for the judge."""

from __future__ import annotations

from collections.abc import Sequence

from handful.records import Example
from handful.seeding import stream
from handful.task import Task


def split_folds(task: Task, seed: int, *, cross_fit: bool) -> tuple[tuple[Example, ...], ...]:
    """Split the examples of every label in two, so that writer and judge can use different ones.

    Args:
        task: With at least two examples per label if `cross_fit`.
        seed: Run seed.
        cross_fit: Without it there is one fold, of all examples.

    Returns:
        One or two folds; each holds examples of every label, in the task's order of labels.
    """
    if not cross_fit:
        return (tuple(example for label in task.label_names for example in task.examples_of(label)),)
    halves: tuple[list[Example], list[Example]] = ([], [])
    for label in task.label_names:
        shuffled = sorted(task.examples_of(label), key=lambda example: example.text)
        stream(seed, "folds", label).shuffle(shuffled)
        middle = (len(shuffled) + 1) // 2
        halves[0].extend(shuffled[:middle])
        halves[1].extend(shuffled[middle:])
    return tuple(tuple(half) for half in halves)


def writer_demonstrations(
    fold: Sequence[Example], label: str, count: int | None, seed: int, *place: str | int
) -> list[Example]:
    """Draw the examples one generation prompt shows: `count` of the label (None: all), in random order."""
    own = [example for example in fold if example.label == label]
    return stream(seed, "writer", label, *place).sample(own, len(own) if count is None else min(count, len(own)))


def judge_examples(folds: Sequence[Sequence[Example]], written_from: int, seed: int, judge: int = 0) -> list[Example]:
    """Return, in random order, what a judge in context is shown for candidates written from fold `written_from`.

    The other fold's examples; all of them where there is only one fold (recipe `paper`). Each of several judges has an
    order of its own.
    """
    others = (
        folds[0] if len(folds) == 1 else [e for index, fold in enumerate(folds) if index != written_from for e in fold]
    )
    return in_random_order(others, seed, "judge", written_from, judge)


def in_random_order(examples: Sequence[Example], seed: int, *place: str | int) -> list[Example]:
    """Return the examples shuffled by the stream of a place."""
    return stream(seed, "order", *place).sample(list(examples), len(examples))
