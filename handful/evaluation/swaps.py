"""What the classifier says if only the group of people changes: texts with two groups exchanged, classified both ways.

Counterfactual evaluation as in Garg et al. 2019, "Counterfactual Fairness in Text Classification through Robustness".
The rewriting knows words, not sentences: a change of label can be due to the grammar a swap breaks, so read the texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handful.evaluation.mentions import Lexicon
from handful.evaluation.metrics import wilson_interval
from handful.seeding import stream

Classify = Callable[[Sequence[str]], NDArray[np.float64]]
"""Texts to probabilities, shape (n_texts, n_labels)."""
MOST_SHOWN = 10
_FEWEST_SWAPS = 10
"""Texts that allow fewer say too little: the next ones are taken, if any allow so many."""


@dataclass(frozen=True)
class Swap:
    """A text and what it becomes if two groups of an axis are exchanged."""

    axis: str
    from_group: str
    """Of the two, the one the text mentions, or mentions first."""
    to_group: str
    text: str
    rewritten: str


@dataclass(frozen=True)
class PlannedSwaps:
    """Which swaps are to be answered."""

    swapped_in: str
    """Name of the texts they were found in."""
    swaps: tuple[Swap, ...]
    left_out: int
    """Swaps beyond the limit that were not drawn."""


@dataclass(frozen=True)
class SwapRate:
    """What swaps did to the labels."""

    axis: str
    from_group: str | None
    """None, like `to_group`, for all swaps of the axis."""
    to_group: str | None
    swaps: int
    flips: int
    """How many of them got another likeliest label."""
    flip_rate: float
    low: float
    """Lower end of the 95 % Wilson interval, which takes swaps for independent: too narrow where a text has several."""
    high: float
    mean_distance: float
    """Mean total-variation distance of the probabilities before and after, in [0, 1]."""


@dataclass(frozen=True)
class Flip:
    """A swap that changed the label."""

    axis: str
    from_group: str
    to_group: str
    text: str
    rewritten: str
    label: str
    rewritten_label: str
    distance: float
    """Total variation."""


@dataclass(frozen=True)
class SwapReport:
    """How a classifier answers to swaps."""

    texts: int
    """Different texts that were rewritten."""
    rates: tuple[SwapRate, ...]
    """For every axis with swaps one of all of them, then one per ordered pair of groups."""
    examples: tuple[Flip, ...]
    """At most `MOST_SHOWN` swaps that changed the label, the largest distance first."""


def plan_swaps(texts: Iterable[str], lexicons: Sequence[Lexicon]) -> list[Swap]:
    """Rewrite every text for every two groups of an axis whose exchange changes it.

    Args:
        texts: The texts; repeated ones count once.
        lexicons: The axes.

    Returns:
        The swaps, axis by axis, in the order of the texts.
    """
    found: dict[str, list[Swap]] = {lexicon.axis.name: [] for lexicon in lexicons}
    for text in dict.fromkeys(texts):
        for lexicon in lexicons:
            name = lexicon.axis.name
            found[name] += [Swap(name, one, other, text, changed) for one, other, changed in lexicon.exchanges(text)]
    return [swap for swaps in found.values() for swap in swaps]


def choose_swaps(
    sources: Mapping[str, Sequence[str]], lexicons: Sequence[Lexicon], *, most: int, seed: int
) -> PlannedSwaps:
    """Find swaps in the first source that allows enough of them, else in the one that allows most.

    Args:
        sources: Texts by their name, those to be preferred first: never mixed, since texts a classifier was tuned on
            flip less than others, and beside them the others would not show.
        lexicons: The axes.
        most: At most so many swaps of each axis, a sample by the seed.
        seed: Of the sample.
    """
    planned = {name: plan_swaps(texts, lexicons) for name, texts in sources.items()}
    enough = (name for name, swaps in planned.items() if len(swaps) >= _FEWEST_SWAPS)
    chosen = next(enough, max(planned, key=lambda name: len(planned[name])))
    swaps = sample_swaps(planned[chosen], most=most, seed=seed)
    return PlannedSwaps(chosen, tuple(swaps), len(planned[chosen]) - len(swaps))


def sample_swaps(swaps: Sequence[Swap], *, most: int, seed: int) -> list[Swap]:
    """Return at most so many swaps of each axis, drawn by the seed, in their order."""
    by_axis: dict[str, list[Swap]] = {}
    for swap in swaps:
        by_axis.setdefault(swap.axis, []).append(swap)
    kept: list[Swap] = []
    for axis, own in by_axis.items():
        places = range(len(own))
        drawn = stream(seed, "swaps", axis).sample(places, most) if len(own) > most else places
        kept += [own[place] for place in sorted(drawn)]
    return kept


def measure_swaps(swaps: Sequence[Swap], classify: Classify, labels: Sequence[str]) -> SwapReport:
    """Classify every text of the swaps as it is and rewritten, each different text once, in one call.

    Args:
        swaps: At least one.
        classify: The classifier.
        labels: What its columns stand for.

    Raises:
        ValueError: The probabilities do not have the shape (n_texts, n_labels).
    """
    texts = list(dict.fromkeys(text for swap in swaps for text in (swap.text, swap.rewritten)))
    probabilities = np.asarray(classify(texts), dtype=np.float64)
    if probabilities.shape != (len(texts), len(labels)):
        raise ValueError(f"probabilities have shape {probabilities.shape}, not {(len(texts), len(labels))}")
    row_of = {text: row for row, text in enumerate(texts)}
    before = probabilities[[row_of[swap.text] for swap in swaps]]
    after = probabilities[[row_of[swap.rewritten] for swap in swaps]]
    distances = (np.abs(before - after).sum(axis=1) / 2).tolist()
    answers = [(labels[old], labels[new]) for old, new in zip(before.argmax(1), after.argmax(1), strict=True)]
    flips = [
        Flip(swap.axis, swap.from_group, swap.to_group, swap.text, swap.rewritten, old, new, distance)
        for swap, (old, new), distance in zip(swaps, answers, distances, strict=True)
        if old != new
    ]
    flips.sort(key=lambda flip: -flip.distance)
    rates = _rates(swaps, answers, distances)
    return SwapReport(len({swap.text for swap in swaps}), tuple(rates), tuple(flips[:MOST_SHOWN]))


def _rates(swaps: Sequence[Swap], answers: Sequence[tuple[str, str]], distances: Sequence[float]) -> list[SwapRate]:
    cells: dict[tuple[str, str | None, str | None], list[tuple[bool, float]]] = {}
    for swap, (old, new), distance in zip(swaps, answers, distances, strict=True):
        for place in ((swap.axis, None, None), (swap.axis, swap.from_group, swap.to_group)):
            cells.setdefault(place, []).append((old != new, distance))
    return [_rate(*place, results) for place, results in cells.items()]


def _rate(axis: str, one: str | None, other: str | None, results: Sequence[tuple[bool, float]]) -> SwapRate:
    flips = sum(flipped for flipped, _ in results)
    low, high = wilson_interval(flips, len(results))
    mean = sum(distance for _, distance in results) / len(results)
    return SwapRate(axis, one, other, len(results), flips, flips / len(results), low, high, mean)
