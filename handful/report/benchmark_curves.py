"""The curves of a benchmark's report: accuracy and variety against the amount of data (paper, figures 5 to 7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from handful.evaluation.methods import OURS, method_of
from handful.report.page import Figure
from handful.report.plots import Point, Series, line_chart
from handful.report.wording import share

_BAND = "lowest to highest of the seeds"
_FEWEST_SIZES = 3
"""A curve of fewer points is no curve."""

Row = Mapping[str, Any]


def accuracy_curve(result: Row, cells: Sequence[Row]) -> Figure | None:
    """Accuracy against data size (paper, figures 5 and 6)."""
    lines = []
    for name, spec, key in (("LoRA on real", "lora_real", "shots_per_label"), ("ours", OURS, "synthetic_per_label")):
        sizes: dict[int, dict[int, float]] = {}
        for row in _written_once(result["methods"]) if spec == OURS else result["methods"]:
            if method_of(row["spec"]).name == spec and isinstance(row[key], int) and _sized(row):
                sizes.setdefault(row[key], _accuracies(cells, result["task"], row["spec"]))
        seeds = set.intersection(*map(set, sizes.values())) if sizes else set()
        if len(sizes) >= _FEWEST_SIZES and seeds:
            of_size = ((size, [found[seed] for seed in seeds]) for size, found in sorted(sizes.items()))
            lines.append(Series(name, tuple(_point(size, values) for size, values in of_size)))
    if not lines:
        return None
    return line_chart(
        lines,
        x_axis="texts per label",
        y_axis="accuracy",
        band=_BAND,
        shown=share,
        caption="Real examples per label for LoRA; written texts per label, beside the real handful, for ours. Over "
        "the seeds that all sizes of a line have. A label with fewer examples gives all it has.",
    )


def _written_once(methods: Sequence[Row]) -> Sequence[Row]:
    """Return the sizes that were taken of the same texts, where there are enough for a curve; else all.

    Texts written anew for each size differ in more than their number.
    """
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in methods:
        method = method_of(row["spec"])
        if method.name == OURS and _sized(row):
            groups[",".join(method.changes)].append(row)
    largest = max(groups.values(), key=len, default=[])
    return largest if len(largest) >= _FEWEST_SIZES else methods


def _accuracies(cells: Sequence[Row], task: str, spec: str) -> dict[int, float]:
    """Return the accuracy of each seed, as the method answers."""
    own = (row for row in cells if row["task"] == task and row["spec"] == spec)
    return {row["seed"]: next(s["accuracy"] for s in row["scores"] if s["calibration"] == "raw") for row in own}


def _sized(row: Row) -> bool:
    """Whether nothing but the amount of data is another than the recipe's; for ours, of written texts."""
    method = method_of(row["spec"])
    return all(map(sizes_alone, method.changes)) and (method.name != OURS or method.shots is None)


def sizes_alone(change: str) -> bool:
    """Return whether a change of the recipe is one of the amount of data."""
    return change.startswith("generate.synthetic_per_label=")


def diversity_curve(result: Row, draws: Sequence[Row]) -> Figure | None:
    """Unique trigrams against data size (paper, figure 7), in the largest draws written as the recipe says."""
    sized = [row for row in draws if row["task"] == result["task"] and all(map(sizes_alone, row["changes"]))]
    largest = max(sized, key=lambda row: row["synthetic_per_label"], default=None)
    found: dict[str, dict[int, list[float]]] = {"real": defaultdict(list), "kept": defaultdict(list)}
    # Draws of one way of writing differ in size where a recipe fits it to their texts.
    for row in (row for row in sized if row["changes"] == largest["changes"]) if largest else ():
        for point in row["growth"]:
            for group in found.keys() & point.keys():
                found[group][point["texts_per_label"]].append(point[group])
    lines = [
        Series(
            {"real": "real", "kept": "written and kept"}[group],
            tuple(_point(x, ys) for x, ys in sorted(sizes.items())),
        )
        for group, sizes in found.items()
        if len(sizes) >= _FEWEST_SIZES
    ]
    if not lines:
        return None
    return line_chart(
        lines,
        x_axis="texts per label",
        y_axis="unique trigrams",
        band=_BAND,
        shown="{:,.0f}".format,
        caption="At each size, as many words of real texts, the labels in turn, as the written ones have. A point is "
        "of the seeds that have so many; the line of the real texts ends where they do.",
    )


def _point(x: int, values: Sequence[float]) -> Point:
    return Point(x, float(np.mean(values)), min(values), max(values))
