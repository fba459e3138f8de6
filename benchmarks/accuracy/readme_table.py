"""The README's table of accuracy: `python -m benchmarks.accuracy.readme_table` prints it from `accuracy.csv`."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from handful.evaluation.methods import METHODS, OURS, method_of
from handful.evaluation.uncertainty import difference_over_seeds, shown_mean
from handful.report.wording import points

ACCURACY = Path(__file__).parents[1] / "results" / "accuracy.csv"
_TASKS = {"sst2": "SST-2", "trec": "TREC", "ag_news": "AG News"}
_SHOTS = {"25", "full"}
"""Of LoRA, beside the handful; the other sizes are the report's curves."""
_PAPERS_N = "generate.synthetic_per_label=21"
"""What the recipe is changed by in the row of the paper's size."""
_DEFAULT = "default"
_NONE = "\u2013"

Row = Mapping[str, str]


class Key(NamedTuple):
    """A line of the table."""

    method: str
    shots: str
    changed: str = ""
    recipe: str = _DEFAULT


def table(rows: Sequence[Row]) -> str:
    """Return a line per method of the plain recipe, of it with the paper's N, and of ours by others, as Markdown.

    Per task: accuracy as mean ± sd over seeds, in brackets the mean with the prior taken out that the generated pool
    shows; and what ours is better by, in points with the paired 95 % interval over the seeds both have. What is
    calibrated on test texts is in the report.
    """
    handful = next(row for row in rows if row["method"] == OURS and row["recipe"] == _DEFAULT)["shots_per_label"]
    ours = Key(OURS, handful)
    found: dict[Key, dict[tuple[str, str], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    written: dict[Key, set[int]] = defaultdict(set)
    for row in rows:
        key = Key(row["method"], row["shots_per_label"], row["recipe"].partition("+")[2], base_recipe(row))
        told = key.shots in {handful, *_SHOTS} if key.recipe == _DEFAULT else key.method == OURS
        if told and key.changed in {"", _PAPERS_N}:
            found[key][row["task"], row["calibration"]][row["seed"]] = float(row["accuracy"])
            written[key].add(int(row["synthetic_per_label"]))

    def place(key: Key) -> tuple[int, float, int, str]:
        return list(METHODS).index(key.method), float(key.shots.replace("full", "inf")), max(written[key]), key.recipe

    tasks = [task for task in _TASKS if any(row["task"] == task for row in rows)]
    heads = ["method", *(head for task in tasks for head in (f"{_TASKS[task]} (calibrated)", "ours less it"))]
    lines = [heads, ["---"] * len(heads)]
    for key in sorted(found, key=place):
        spec = key.method if key.shots == handful else f"{key.method}:{key.shots}"
        title = method_of(spec).titled(int(handful), written[key])
        line = [title if key.recipe == _DEFAULT else f"{title}, recipe `{key.recipe}`"]
        for task in tasks:
            own = found[key].get((task, "raw"), {})
            line.append(_with_calibrated(own, found[key].get((task, "pool"), {})))
            line.append(_gain({} if key == ours else found[ours].get((task, "raw"), {}), own))
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def base_recipe(row: Row) -> str:
    """Return the recipe of a row without what its method changes of it."""
    return row["recipe"].partition("+")[0]


def _mean(by_seed: Mapping[str, float]) -> str:
    values = list(by_seed.values())
    if not values:
        return _NONE
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return shown_mean(statistics.fmean(values), spread, len(values))


def _with_calibrated(raw: Mapping[str, float], pool: Mapping[str, float]) -> str:
    return f"{_mean(raw)} ({statistics.fmean(pool.values()):.3f})" if pool else _mean(raw)


def _gain(ours: Mapping[str, float], own: Mapping[str, float]) -> str:
    gains = [ours[seed] - own[seed] for seed in sorted(ours.keys() & own.keys())]
    if not gains:
        return _NONE
    if len(gains) == 1:
        return _points(gains[0])
    gain = difference_over_seeds(gains)
    return f"{_points(gain.mean)} ({_points(gain.low)} to {_points(gain.high)})"


def _points(share: float) -> str:
    return points(share).replace("\u2212", "-")


def read(path: Path = ACCURACY) -> list[dict[str, str]]:
    """Read the rows of an `accuracy.csv`."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Print the table."""
    print(table(read()), end="")


if __name__ == "__main__":
    main()
