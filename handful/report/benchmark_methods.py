"""The tables of a benchmark's report: how right the methods are, beside ours, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handful.evaluation.methods import OURS, method_of
from handful.evaluation.uncertainty import shown_mean, shown_p_value
from handful.report.benchmark_curves import sizes_alone
from handful.report.page import Block, Table, table
from handful.report.plots import Bar, bar_chart
from handful.report.wording import number, plural, points

Row = Mapping[str, Any]

_COLUMNS = (
    "seeds",
    "accuracy",
    "macro-F1",
    "ours less it, points",
    "accuracy, prior from the pool",
    "accuracy, prior from the test texts (transductive)",
)
_CALIBRATED = ("pool_accuracy", "test_accuracy")
_SETTINGS = (
    "Other settings of the recipe, compared with ours in all that stands behind the name at once: what one of them "
    "does is the difference to the row that differs in it alone."
)
_FURTHER = (
    "Calibration and cost, means over the seeds; seconds of those that no stop came between. Milliseconds are of the "
    "machine as busy as it was: with the same prompt tokens, methods take as long. Peak memory is of the process with "
    "what it had loaded before; of methods without the LLM it is not known."
)


def method_blocks(result: Row) -> Iterator[Block]:
    """Yield the methods as a chart and as a table, other settings of the recipe in one of their own, and the cost."""
    methods = [row for row in result["methods"] if _is_method(row)]
    yield bar_chart([_bar(row, len(result["seeds"])) for row in methods], axis="accuracy")
    yield _comparison(methods, len(result["seeds"]))
    settings = [row for row in result["methods"] if not _is_method(row)]
    if settings:
        yield _comparison(settings, len(result["seeds"]), _SETTINGS)
    yield _further(result["methods"])


def _is_method(row: Row) -> bool:
    """Whether it has the recipe's settings, or differs in the amount of data alone."""
    return all(map(sizes_alone, method_of(row["spec"]).changes))


def _bar(row: Row, n_seeds: int) -> Bar:
    accuracy = row["accuracy"]
    # Fewer draws are other draws: a bar that is longer for that would be read as a better method.
    fewer = "" if accuracy["n_seeds"] == n_seeds else f" ({plural(accuracy['n_seeds'], 'seed')})"
    name = f"{row['title']}{fewer}"
    return Bar(name, accuracy["mean"], accuracy["low"], accuracy["high"], row["spec"] == OURS)


def _comparison(methods: Sequence[Row], n_seeds: int, caption: str = "") -> Table:
    rows = [
        [
            row["title"],
            str(row["accuracy"]["n_seeds"]),
            *(_mean_and_spread(row[name]) for name in ("accuracy", "macro_f1")),
            _gain(row, n_seeds),
            *("\u2013" if row[name] is None else _mean_and_spread(row[name]) for name in _CALIBRATED),
        ]
        for row in methods
    ]
    marked = [index for index, row in enumerate(methods) if row["spec"] == OURS]
    return table("method", _COLUMNS, rows, caption, marked=marked)


def _gain(row: Row, n_seeds: int) -> str:
    gain = row["gain_of_ours"]
    if gain is None:
        return "\u2013"
    interval = f"{points(gain['low'])} to {points(gain['high'])}"
    if gain_seeds(row) == 1 < n_seeds:
        # It knows nothing of other draws, so beside the others it would look surer than they are.
        return f"{points(gain['mean'])} (one seed; for other texts alone {interval})"
    p_value = shown_p_value(gain["p_value"])
    equals = "" if p_value.startswith("<") else "= "
    return f"{points(gain['mean'])} ({interval}), p {equals}{p_value}"


def gain_seeds(row: Row) -> int:
    """Return of how many seeds a row's gain is; what was published before 2026-11-28 does not say it."""
    return int(row["gain_of_ours"].get("n_seeds", row["accuracy"]["n_seeds"]))


def _mean_and_spread(interval: Row) -> str:
    return shown_mean(interval["mean"], interval["sd"], interval["n_seeds"])


def _further(methods: Sequence[Row]) -> Table:
    names = {
        "n_training": ("trained on", 0),
        "ece": ("ECE", 3),
        "brier": ("Brier", 3),
        "log_loss": ("log-loss", 3),
        "prompt_tokens": ("prompt tokens", 0),
        "ms_per_text": ("ms a text", 1),
        "latency_p50_ms": ("one by one, p50 ms", 1),
        "latency_p95_ms": ("p95 ms", 1),
        "train_seconds": ("train s", 0),
        "generate_seconds": ("write s", 0),
        "peak_memory_mb": ("peak MB", 0),
    }
    rows = []
    for row in methods:
        means = dict(row["means"])
        if method_of(row["spec"]).peer not in {None, "llm_probe"}:
            means["peak_memory_mb"] = None  # the process still holds the LLM that other methods loaded
        rows.append([row["title"], *(number(means[key], digits) for key, (_, digits) in names.items())])
    return table("method", [title for title, _ in names.values()], rows, _FURTHER)
