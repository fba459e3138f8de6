"""The paper's sets as the benchmark uses them: four examples per class, and other texts of the training split."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from handful.paper_sets import load_paper_set
from handful.records import Example
from handful.seeding import stream
from handful.task import Task

SETS = ("trec", "sst2", "ag_news")
SHOTS = 4
"""Examples per class, as in the paper."""
SEED = 0


@functools.cache
def few_shot_task(name: str) -> Task:
    """Return a set with four examples per class and no test texts; needs HANDFUL_DATA."""
    return replace(load_paper_set(name).sample(SHOTS, SEED), test=None)


@functools.cache
def _others(name: str) -> tuple[Example, ...]:
    shown = {example.text for example in few_shot_task(name).examples}
    rest = [example for example in load_paper_set(name).examples if example.text not in shown]
    return tuple(stream(SEED, "bench-texts", name).sample(rest, len(rest)))


def texts(name: str, count: int, start: int = 0) -> list[str]:
    """Return texts of the training split in a fixed random order, none of them among the examples.

    Args:
        name: One of `SETS`.
        count: How many; where the split is used up it begins anew.
        start: Where in that order to start.
    """
    rest = _others(name)
    return [rest[(start + index) % len(rest)].text for index in range(count)]


def examples_of(name: str, label: str, count: int) -> Sequence[Example]:
    """Return labelled examples of the training split, in place of synthetic ones where only time is measured."""
    return [example for example in _others(name) if example.label == label][:count]
