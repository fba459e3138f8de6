"""Whether labels go with groups of people: association in labelled texts, for the real and the synthetic ones apart.

An association is a hint to look at the texts, not a verdict: with a few examples most intervals are wide, and of many
comparisons some stand out by chance.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from handful.evaluation.mentions import Lexicon
from handful.records import Example

LEVEL = 0.05
"""Share of comparisons without any association whose interval excludes 0; and the false discovery rate."""
_WIDTH = 1.959964
Against = Literal["other groups", "no group"]
"""Of the same axis."""


@dataclass(frozen=True)
class Association:
    """Whether texts that mention a group have a label more often than texts of the axis's other groups, or of none."""

    axis: str
    group: str
    label: str
    against: Against
    """What the texts are compared with."""
    with_label: int
    """Texts that mention the group and have the label."""
    without_label: int
    """Texts that mention the group and have another label."""
    others_with_label: int
    """Texts compared with (of several groups, those that do not mention this one) that have the label."""
    others_without_label: int
    """Likewise, that have another label."""
    log_odds_ratio: float
    """Nats, positive if the label goes with the group; 0.5 is added to every count (Haldane 1956, Anscombe 1956)."""
    low: float
    """Lower end of the 95 % Wald interval."""
    high: float
    p_value: float
    """Two-sided, of the same normal approximation."""
    p_adjusted: float
    """Adjusted by Benjamini and Hochberg 1995 over all comparisons of these texts."""
    excludes_zero: bool
    """Whether the interval lies on one side of 0: so it does for about one in twenty comparisons by chance."""
    survives_adjustment: bool
    """Whether it is among those of which about one in twenty is expected to be due to chance."""


def associations(examples: Sequence[Example], lexicons: Sequence[Lexicon], labels: Sequence[str]) -> list[Association]:
    """Compare, for every axis, group and label, texts of the group with texts of the other groups, and of none.

    The second finds what the first cannot: one group that is named, always with the same label, and no other ever. A
    comparison is made where both sides have a text and the label divides them. With two groups and two labels the
    same comparison of both stands there four times, once from each side, and counts as four.

    Args:
        examples: Labelled texts.
        lexicons: The axes.
        labels: The labels to compare.

    Returns:
        One association per comparison made, in the order of axes, groups and labels. Of n of them, about
        `LEVEL * n` exclude 0 where nothing is associated (fewer if counts are small).
    """
    made: list[Association] = []
    for lexicon in lexicons:
        mentions = [(set(lexicon.groups_in(example.text)), example.label) for example in examples]
        for group in lexicon.axis.groups:
            own = [label for groups, label in mentions if group.name in groups]
            compared: dict[Against, list[str]] = {
                "other groups": [label for groups, label in mentions if groups and group.name not in groups],
                "no group": [label for groups, label in mentions if not groups],
            }
            for (against, others), label in itertools.product(compared.items(), labels):
                a, c = own.count(label), others.count(label)
                b, d = len(own) - a, len(others) - c
                if own and others and a + c and b + d:
                    made.append(_association(lexicon.axis.name, group.name, label, against, (a, b, c, d)))
    adjusted = benjamini_hochberg([entry.p_value for entry in made])
    return [
        dataclasses.replace(entry, p_adjusted=p, survives_adjustment=p <= LEVEL)
        for entry, p in zip(made, adjusted, strict=True)
    ]


def _association(axis: str, group: str, label: str, against: Against, counts: tuple[int, int, int, int]) -> Association:
    ratio, error = log_odds_ratio(*counts)
    p_value = math.erfc(abs(ratio / error) / math.sqrt(2))
    low, high = ratio - _WIDTH * error, ratio + _WIDTH * error
    clear = low > 0 or high < 0
    return Association(axis, group, label, against, *counts, ratio, low, high, p_value, p_value, clear, clear)


def log_odds_ratio(a: int, b: int, c: int, d: int) -> tuple[float, float]:
    """Return the log of (a / b) / (c / d) in nats and its standard error, with 0.5 added to every count.

    >>> ratio, error = log_odds_ratio(10, 10, 10, 10)
    >>> ratio, round(error, 3)
    (0.0, 0.617)
    """
    cells = [count + 0.5 for count in (a, b, c, d)]
    ratio = math.log(cells[0]) - math.log(cells[1]) - math.log(cells[2]) + math.log(cells[3])
    return ratio, math.sqrt(sum(1 / cell for cell in cells))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return the p-values adjusted for their number, in their order (Benjamini and Hochberg 1995, step-up).

    >>> benjamini_hochberg([0.01, 0.5])
    [0.02, 0.5]
    """
    adjusted = [1.0] * len(p_values)
    least = 1.0
    for rank, place in reversed(list(enumerate(sorted(range(len(p_values)), key=p_values.__getitem__), start=1))):
        least = min(least, p_values[place] * len(p_values) / rank)
        adjusted[place] = least
    return adjusted
