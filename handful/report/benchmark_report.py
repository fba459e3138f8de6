"""The report of a benchmark: per task which method to use, the table of all methods, the paper's curves, the filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from handful.errors import RunError
from handful.evaluation.methods import OURS, method_of
from handful.evaluation.uncertainty import shown_mean, shown_p_value
from handful.report.benchmark_draws import (
    FEWEST_SIZES,
    WORDS,
    WRITTEN,
    Row,
    diversity_curve,
    number,
    word_blocks,
    written_blocks,
)
from handful.report.page import Figure, Fold, Page, Paragraph, Section, Sentences, Table, Verdict, table
from handful.report.plots import Bar, Point, Series, bar_chart, line_chart
from handful.report.render import render_page
from handful.report.run_report import recipe_table
from handful.report.wording import NAME_CHARS, cut, plural, points, quoted, share
from handful.run import Run, read_jsonl, read_manifest
from handful.storage.jsonl import read_json

_REPORT = "report.html"


@dataclass(frozen=True)
class BenchmarkData:
    """What a benchmark published."""

    results: Sequence[Row]
    """Per task: `task`, `n_test`, `seeds`, `labels`, `methods` (see `benchmark.tables.MethodSummary`)."""
    draws: Sequence[Row]
    """See `benchmark.draw_analysis.analysed`."""
    cells: Sequence[Row]
    identity: Row


def write_benchmark_report(run: Run) -> Path:
    """Make the report of a benchmark directory from what it published, and publish it.

    Raises:
        RunError: It published nothing yet, or a file is damaged or cannot be written.
    """
    return run.publish_file(_REPORT, render_page(benchmark_page(read_benchmark(run.directory))))


def read_benchmark(directory: Path) -> BenchmarkData:
    """Read what a benchmark published; raises RunError if that is nothing."""
    results = read_json(directory / "results.json")
    if results is None:
        mend = "Give its command again; it goes on where it stopped."
        raise RunError("the benchmark has no results yet", where=str(directory), mend=mend)
    return BenchmarkData(
        results=results["tasks"],
        draws=list(read_jsonl(directory / "draws.jsonl")),
        cells=list(read_jsonl(directory / "cells.jsonl")),
        identity=read_manifest(directory)["identity"],
    )


def benchmark_page(data: BenchmarkData) -> Page:
    """Return the page of a benchmark."""
    names = ", ".join(cut(result["task"], NAME_CHARS) for result in data.results)
    headlines = [_headline(result) for result in data.results]
    sections = [section for result in data.results for section in _task_sections(data, result)]
    return Page(
        f"handful benchmark: {names}",
        Verdict(headlines[0], tuple(headlines[1:])),
        (*sections, _cost(data), _limits(data), _settings(data)),
    )


def _headline(result: Row) -> str:
    methods = result["methods"]
    ours = next((row for row in methods if row["spec"] == OURS), None)
    best = max(methods, key=lambda row: row["accuracy"]["mean"])
    said = f"{cut(result['task'], NAME_CHARS)}: {best['title']} is right most often, {_mean(best)}."
    if ours is None or best is ours:
        rivals = [row for row in methods if row["gain_of_ours"] is not None]
        rival = max(rivals, key=lambda row: row["accuracy"]["mean"], default=None)
        return said if rival is None else f"{said} {_against(rival)}"
    return f"{said} Ours: {_mean(ours)}. {_against(best)}"


def _mean(row: Row) -> str:
    accuracy = row["accuracy"]
    return f"{share(accuracy['mean'])} (95 % interval {share(accuracy['low'])} to {share(accuracy['high'])})"


def _against(row: Row) -> str:
    gain = row["gain_of_ours"]
    if gain is None:
        return ""
    interval = f"{points(gain['mean'])} points (95 % interval {points(gain['low'])} to {points(gain['high'])})"
    if gain["low"] > 0:
        return f"Ours beats {row['title']} by {interval}."
    if gain["high"] < 0:
        return f"Ours is worse than {row['title']}: {interval}."
    return f"Ours and {row['title']} cannot be told apart: {interval}."


def _task_sections(data: BenchmarkData, result: Row) -> Iterator[Section]:
    name, seeds = cut(result["task"], NAME_CHARS), len(result["seeds"])
    intro = (
        f"{plural(result['n_test'], 'test text')}, {plural(seeds, 'seed')}: each draws its examples, writes and trains "
        "anew. Mean ± standard deviation over the seeds; intervals by bootstrap over seeds and texts."
    )
    bars = [
        Bar(row["title"], row["accuracy"]["mean"], row["accuracy"]["low"], row["accuracy"]["high"], row["spec"] == OURS)
        for row in result["methods"]
    ]
    yield Section(f"{name}: methods", intro, (bar_chart(bars, axis="accuracy"), _comparison(result), _further(result)))
    curves = [figure for figure in (_accuracy_curve(result), diversity_curve(result, data.draws)) if figure is not None]
    if curves:
        yield Section(f"{name}: more data", "What more real or more written texts are worth.", tuple(curves))
    draws = [row for row in data.draws if row["task"] == result["task"]]
    if draws:
        yield Section(f"{name}: what was written", WRITTEN, tuple(written_blocks(result, draws)))
    worded = next((row for row in draws if row["words"]), None)
    if worded is not None:
        yield Section(f"{name}: words", WORDS, tuple(word_blocks(result, worded)))


def _comparison(result: Row) -> Table:
    rows = []
    for row in result["methods"]:
        gain = row["gain_of_ours"]
        rows.append(
            [
                row["title"],
                str(row["accuracy"]["n_seeds"]),
                *(_mean_and_spread(row[name]) for name in ("accuracy", "macro_f1")),
                "\u2013" if gain is None else _interval(gain),
                number(row["pool_accuracy"], 3),
                number(row["test_accuracy"], 3),
            ]
        )
    columns = [
        "seeds",
        "accuracy",
        "macro-F1",
        "ours less it, points",
        "accuracy, prior from the pool",
        "accuracy, prior from the test texts (transductive)",
    ]
    marked = [index for index, row in enumerate(result["methods"]) if row["spec"] == OURS]
    return table("method", columns, rows, marked=marked)


def _interval(gain: Row) -> str:
    p_value = shown_p_value(gain["p_value"])
    equals = "" if p_value.startswith("<") else "= "
    return f"{points(gain['mean'])} ({points(gain['low'])} to {points(gain['high'])}), p {equals}{p_value}"


def _mean_and_spread(interval: Row) -> str:
    return shown_mean(interval["mean"], interval["sd"], interval["n_seeds"])


def _further(result: Row) -> Table:
    names = {
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
    rows = [
        [row["title"], *(number(row["means"][key], digits) for key, (_, digits) in names.items())]
        for row in result["methods"]
    ]
    return table("method", [title for title, _ in names.values()], rows, "Calibration and cost, means over the seeds.")


def _accuracy_curve(result: Row) -> Figure | None:
    """Accuracy against data size (paper, figures 5 and 6)."""
    lines = []
    for name, spec, key in (("LoRA on real", "lora_real", "shots_per_label"), ("ours", OURS, "synthetic_per_label")):
        sized = {
            row[key]: row["accuracy"]
            for row in result["methods"]
            if method_of(row["spec"]).name == spec and isinstance(row[key], int) and _sized(row)
        }
        if len(sized) >= FEWEST_SIZES:
            lines.append(
                Series(name, tuple(Point(x, a["mean"], a["low"], a["high"]) for x, a in sorted(sized.items())))
            )
    if not lines:
        return None
    caption = "Real examples per label for LoRA; written texts per label, beside the real handful, for ours."
    return line_chart(lines, x_axis="texts per label", y_axis="accuracy", caption=caption)


def _sized(row: Row) -> bool:
    """Whether nothing but the amount of data is another than the recipe's."""
    changes = method_of(row["spec"]).changes
    return all(change.startswith("generate.synthetic_per_label=") for change in changes)


def _cost(data: BenchmarkData) -> Section:
    trained = sum(row["train_seconds"] or 0 for row in data.cells)
    written = sum(row["generate_seconds"] or 0 for row in data.cells)
    answered = sum(row["ms_per_text"] * row["n_test"] / 1000 for row in data.cells)
    text = (
        f"{plural(len(data.cells), 'cell')}: {trained:,.0f} s of training, {written:,.0f} s of writing and judging, "
        f"{answered:,.0f} s of answering test texts. Cells that went on after a stop are not counted in full."
    )
    return Section("What it cost", text)


def _limits(data: BenchmarkData) -> Section:
    sentences = [
        "The test texts are the same for every seed: the intervals of one method say how much another draw of examples "
        "and another sample of such texts would move its mean; differences are taken seed by seed.",
        "Calibration on the test texts looks at all of them before it answers one; nobody who classifies texts as they "
        "come can do that.",
        "A model may have seen these sets in its own training; that lifts every method that uses it.",
    ]
    if min((len(result["seeds"]) for result in data.results), default=0) < 3:
        sentences.insert(0, "Fewer than three seeds: the spread between draws is not known from this.")
    return Section("What this does not say", "", (Sentences(tuple(sentences)),))


def _settings(data: BenchmarkData) -> Section:
    identity = data.identity
    commits = sorted({row["commit"] for row in data.cells if row["commit"]})
    text = (
        f"Model {quoted(str(identity['model']))}, recipe {quoted(str(identity['recipe']['name']))}, "
        f"{identity['shots_per_label'] or 'all'} examples per label. Commits: {', '.join(commits) or 'not known'}. "
        "Each draw is a run directory below runs/, with a report of its own by `handful report`."
    )
    return Section("What was run", "", (Paragraph(text), Fold("The recipe", (recipe_table(identity["recipe"]),))))
