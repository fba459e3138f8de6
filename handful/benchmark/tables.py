"""Scores in, tables out: means over seeds with intervals, each method against ours, and the CSV of all cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from handful.benchmark.plan import BenchmarkPlan
from handful.benchmark.scoring import ScoredCell, gold_indices
from handful.evaluation.methods import OURS, Method
from handful.evaluation.metrics import confusion_accuracy, confusion_macro_f1
from handful.evaluation.uncertainty import (
    Difference,
    Interval,
    mean_interval,
    paired_difference,
    shown_mean,
    shown_p_value,
)
from handful.reading.delimited import encode_delimited
from handful.task import Task

_CSV = (
    *("task", "method", "recipe", "shots_per_label", "synthetic_per_label", "seed", "n_test", "accuracy", "macro_f1"),
    *("ece", "ms_per_text", "prompt_tokens", "train_seconds", "generate_seconds", "calibration", "transductive"),
    "commit",
)
_DIGITS = {"ms_per_text": 3, "train_seconds": 2, "generate_seconds": 2, "prompt_tokens": 2}


@dataclass(frozen=True)
class Spread:
    """A mean over seeds and how far they lie apart."""

    mean: float
    sd: float
    """Standard deviation (n - 1); 0 for one seed."""
    n_seeds: int


@dataclass(frozen=True)
class MethodSummary:
    """One method on one task, over its seeds."""

    spec: str
    title: str
    shots_per_label: int | str
    """Real examples per label; "full" is the whole training set."""
    synthetic_per_label: int | None
    """0 where nothing written is trained on; None where draws differ."""
    accuracy: Interval
    macro_f1: Interval
    pool_accuracy: Spread | None
    """With the prior estimated on the generated pool; None where that cannot be."""
    test_accuracy: Spread | None
    """With the prior estimated on the test texts: transductive."""
    gain_of_ours: Difference | None
    """Accuracy of ours less this method's, as both answer, over the seeds both have."""
    means: Mapping[str, float | None]
    """Means of the other columns over the seeds that have them: what a stop came between has no seconds."""


_BRIEF = 7
"""Columns of `table_of` for a terminal: what is not for it stands behind them."""
_MEANS = (
    "n_training",
    "ece",
    "brier",
    "log_loss",
    "ms_per_text",
    "latency_p50_ms",
    "latency_p95_ms",
    "prompt_tokens",
    "train_seconds",
    "generate_seconds",
    "peak_memory_mb",
)


def summarise(plan: BenchmarkPlan, task: Task, cells: Sequence[ScoredCell]) -> list[MethodSummary]:
    """Summarise a task's cells, in the order of the plan's methods; those without a cell are left out."""
    gold = np.array(gold_indices(task))
    found = {spec: _by_seed(cells, spec, "raw") for spec in (method.key for method in plan.methods)}
    ours = found.get(OURS, {})
    return [
        _summary(plan, task, method, found[method.key], ours, cells, gold)
        for method in plan.methods
        if found[method.key]
    ]


def _by_seed(cells: Sequence[ScoredCell], spec: str, calibration: str) -> dict[int, ScoredCell]:
    return {
        cell.score.seed: cell for cell in cells if cell.score.spec == spec and cell.score.calibration == calibration
    }


def _summary(
    plan: BenchmarkPlan,
    task: Task,
    method: Method,
    own: Mapping[int, ScoredCell],
    ours: Mapping[int, ScoredCell],
    cells: Sequence[ScoredCell],
    gold: Any,
) -> MethodSummary:
    predicted = [cell.predicted for cell in own.values()]
    n_labels = len(task.label_names)
    both = sorted(own.keys() & ours.keys()) if method.key != OURS else []
    gain = None
    if both:
        ours_right, own_right = ([np.array(side[seed].predicted) == gold for seed in both] for side in (ours, own))
        gain = paired_difference(ours_right, own_right)
    scores = [cell.score for cell in own.values()]
    shots = plan.shots_per_label or max(len(task.examples_of(label)) for label in task.label_names)
    return MethodSummary(
        spec=method.key,
        shots_per_label=method.shots or shots,
        synthetic_per_label=_one([score.synthetic_per_label for score in scores]),
        title=method.titled(shots, {cell.n_of_recipe for cell in own.values()}, plan.encoder),
        accuracy=mean_interval(gold, predicted, n_labels, confusion_accuracy),
        macro_f1=mean_interval(gold, predicted, n_labels, confusion_macro_f1),
        pool_accuracy=_spread([cell.score.accuracy for cell in _by_seed(cells, method.key, "pool").values()]),
        test_accuracy=_spread([cell.score.accuracy for cell in _by_seed(cells, method.key, "test").values()]),
        gain_of_ours=gain,
        means={name: _mean([getattr(score, name) for score in scores]) for name in _MEANS},
    )


def _one(numbers: Sequence[int]) -> int | None:
    return numbers[0] if len(set(numbers)) == 1 else None


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0, len(values))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def accuracy_csv(cells: Sequence[ScoredCell]) -> bytes:
    """Return all cells as CSV, a row per cell and calibration."""
    rows = (cell.score.to_row() for cell in cells)
    return encode_delimited([_CSV, *([_shown(name, row[name]) for name in _CSV] for row in rows)])


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return round(value, _DIGITS.get(name, 6)) if isinstance(value, float) else "" if value is None else value


def brief_table(summaries: Sequence[MethodSummary]) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows that fit a terminal."""
    columns, rows = table_of(summaries)
    return columns[:_BRIEF], [row[:_BRIEF] for row in rows]


def table_of(summaries: Sequence[MethodSummary]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows for people."""
    columns = [
        "method",
        "seeds",
        "accuracy",
        "95 %",
        "macro-F1",
        "ours less it",
        "p",
        "macro-F1 95 %",
        "pool",
        "test (transductive)",
        "ECE",
        "ms/text",
        "prompt",
        "trained on",
        "train s",
        "generate s",
    ]
    most_seeds = max((entry.accuracy.n_seeds for entry in summaries), default=0)
    return columns, [_row(entry, most_seeds) for entry in summaries]


def _row(entry: MethodSummary, most_seeds: int) -> list[str]:
    gain, means = entry.gain_of_ours, entry.means
    # Of one seed among several it knows nothing of other draws, so beside the others it would look surer than they are.
    alone = gain is not None and gain.n_seeds == 1 < most_seeds
    return [
        entry.title,
        str(entry.accuracy.n_seeds),
        _mean_and_spread(entry.accuracy),
        f"{entry.accuracy.low:.3f} to {entry.accuracy.high:.3f}",
        _mean_and_spread(entry.macro_f1),
        "" if gain is None else f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}){', one seed' * alone}",
        "" if gain is None or alone else shown_p_value(gain.p_value),
        f"{entry.macro_f1.low:.3f} to {entry.macro_f1.high:.3f}",
        "" if entry.pool_accuracy is None else _mean_and_spread(entry.pool_accuracy),
        "" if entry.test_accuracy is None else _mean_and_spread(entry.test_accuracy),
        _number(means["ece"], 3),
        _number(means["ms_per_text"], 1),
        _number(means["prompt_tokens"], 0),
        _number(means["n_training"], 0),
        _number(means["train_seconds"], 0),
        _number(means["generate_seconds"], 0),
    ]


def _mean_and_spread(interval: Interval | Spread) -> str:
    return shown_mean(interval.mean, interval.sd, interval.n_seeds)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def markdown(summaries: Sequence[MethodSummary]) -> str:
    """Return the table as Markdown, for README and notes."""
    columns, rows = table_of(summaries)
    lines = [columns, ["---"] * len(columns), *rows]
    escaped = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)
