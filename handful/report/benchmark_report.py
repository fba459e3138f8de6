"""The report of a benchmark: per task which method to use, the table of all methods, the paper's curves, the filter."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from handful.errors import RunError
from handful.evaluation.methods import FULL, OURS, method_of
from handful.evaluation.metrics import GUESSING
from handful.evaluation.uncertainty import shown_mean
from handful.reading.wording import short
from handful.report.benchmark_answers import answer_sections
from handful.report.benchmark_curves import accuracy_curve, diversity_curve
from handful.report.benchmark_draws import WORDS, Row, about_written, word_blocks, written_blocks
from handful.report.benchmark_methods import gain_seeds, method_blocks
from handful.report.page import Fold, Page, Paragraph, Section, Sentences, Verdict
from handful.report.render import render_page
from handful.report.run_data import RunData, read_run
from handful.report.run_report import recipe_table, tokens_written
from handful.report.wording import NAME_CHARS, arithmetic, cut, number, percent, plural, points, quoted, share
from handful.run import Run, is_plain_name, read_jsonl, read_manifest
from handful.storage.jsonl import read_json

_REPORT = "report.html"
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^/\s:'\"]+/)*(?=[^/\s:'\"]+/[^/\s:'\"]+)")
"""Of a path all but the last two parts: a page is shown to others, whom the machine's folders tell nothing."""


@dataclass(frozen=True)
class BenchmarkData:
    """What a benchmark published."""

    results: Sequence[Row]
    """Per task: `task`, `n_test`, `seeds`, `labels`, `methods` (see `benchmark.tables.MethodSummary`)."""
    draws: Sequence[Row]
    """See `benchmark.draw_analysis.analysed`."""
    cells: Sequence[Row]
    identity: Row
    runs: Mapping[str, Sequence[RunData]]
    """By task, the draws in which ours was measured."""


def write_benchmark_report(run: Run) -> Path:
    """Make the report of a benchmark directory from what it published, and publish it.

    Raises:
        RunError: It published nothing yet, or a file is damaged or cannot be written.
    """
    return run.publish_file(_REPORT, render_page(benchmark_page(read_benchmark(run.directory))))


def read_benchmark(directory: Path) -> BenchmarkData:
    """Read what a benchmark published.

    Raises:
        RunError: That is nothing, or a file is damaged.
    """
    results = read_json(directory / "results.json")
    if results is None:
        mend = "Give its command again; it goes on where it stopped."
        raise RunError("the benchmark has no results yet", where=str(directory), mend=mend)
    cells = list(read_jsonl(directory / "cells.jsonl"))
    runs: dict[str, list[RunData]] = {result["task"]: [] for result in results["tasks"]}
    for cell in cells:
        if not all(map(is_plain_name, cell["draw"].split("/"))):
            mend = "Give the benchmark's command again; the file is written anew."
            raise RunError(f"{short(cell['draw'])} is no draw", where=str(directory / "cells.jsonl"), mend=mend)
        if cell["spec"] == OURS:
            runs[cell["task"]].append(read_run(directory / cell["draw"]))
    draws = directory / "draws.jsonl"  # published last
    return BenchmarkData(
        results=results["tasks"],
        draws=list(read_jsonl(draws)) if draws.is_file() else [],
        cells=cells,
        identity=read_manifest(directory)["identity"],
        runs=runs,
    )


def benchmark_page(data: BenchmarkData) -> Page:
    """Return the page of a benchmark."""
    names = ", ".join(cut(result["task"], NAME_CHARS) for result in data.results)
    headlines = [_headline(result) for result in data.results]
    details = (*headlines[1:], *filter(None, map(_like_guessing, data.results)))
    details = (*details, *chain.from_iterable(map(_better_calibrated, data.results)))
    details = (*details, *filter(None, (_with_more_data(data, result) for result in data.results)))
    sections = [section for result in data.results for section in _task_sections(data, result)]
    return Page(
        f"handful benchmark: {names}",
        Verdict(headlines[0], details),
        (*sections, _cost(data), _limits(data), _settings(data)),
    )


def _headline(result: Row) -> str:
    """Say which method to use: among those that need no more than the handful of examples."""
    ours, rivals = _ours(result), _rivals(result)
    task = cut(result["task"], NAME_CHARS)
    # Accuracies of other seeds are of easier or harder examples: a method is picked by what it is ahead on ours' seeds.
    shared = [row for row in rivals if row["gain_of_ours"] is not None]
    most_seeds = max(map(gain_seeds, shared), default=0)
    shared = [row for row in shared if gain_seeds(row) == most_seeds]
    rival = min(shared, key=lambda row: row["gain_of_ours"]["mean"], default=None)
    if ours is None or rival is None:
        only = ours or max(rivals, key=lambda row: row["accuracy"]["mean"], default=result["methods"][0])
        return f"{task}: {only['title']} is right {_mean(only)} of the time."
    gain = rival["gain_of_ours"]
    said = (
        f"{ours['title']} is right {_mean(ours)} of the time, {rival['title']}, the best other method, {_mean(rival)}"
    )
    difference = f"{points(gain['mean'])} points (95 % interval {points(gain['low'])} to {points(gain['high'])})"
    if most_seeds < max(row["accuracy"]["n_seeds"] for row in (ours, rival)):
        difference += f" on the {_seeds(most_seeds)} that both have"
    if most_seeds == 1 < len(result["seeds"]):
        return f"{task}: which method to use cannot be told from one seed. {_capital(said)}: {difference}."
    if gain["low"] > 0:
        return f"{task}: use {ours['title']}. {_capital(said)}: a gain of {difference}."
    if gain["high"] < 0:
        return f"{task}: use {rival['title']}. {_capital(said)}: ours is worse, {difference}."
    return f"{task}: {ours['title']} and {rival['title']} cannot be told apart. {_capital(said)}: {difference}."


def _ours(result: Row) -> Row | None:
    return next((row for row in result["methods"] if row["spec"] == OURS), None)


def _rivals(result: Row) -> list[Row]:
    return [row for row in result["methods"] if method_of(row["spec"]).is_rival]


def _better_calibrated(result: Row) -> Iterator[str]:
    """Say so where another method passes ours once its prior is taken out without a test text."""
    ours = _ours(result)
    if ours is None:
        return
    for row in _rivals(result):
        less_prior = row["pool_accuracy"]
        if less_prior is not None and less_prior["mean"] > ours["accuracy"]["mean"]:
            yield (
                f"{cut(result['task'], NAME_CHARS)}: {row['title']} with its label prior taken out, as the written "
                f"texts show it, is right {_spread(less_prior)} of the time, ours as it answers "
                f"{_spread(ours['accuracy'])}."
            )


def _like_guessing(result: Row) -> str:
    """Say so where nothing with the handful is clearly better than answers that need no text."""
    plain = [row for row in (_ours(result), *_rivals(result)) if row is not None]
    if not plain or max(row["accuracy"]["low"] for row in plain) > result["chance"]:
        return ""
    task = cut(result["task"], NAME_CHARS)
    return f"{task}: none is clearly better than {GUESSING} which is right {percent(result['chance'])} of the time."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _with_more_data(data: BenchmarkData, result: Row) -> str:
    """Say what more labelled examples would bring, where that was measured, beside ours on the same seeds."""
    handful = data.identity["shots_per_label"]
    found = []
    for row in result["methods"]:
        method = method_of(row["spec"])
        shots = math.inf if method.shots == FULL else method.shots or 0
        if not method.settings and handful is not None and shots > handful:
            accuracy = row["accuracy"]
            right = f"{share(accuracy['mean'])} ({_seeds(accuracy['n_seeds'])})"
            found.append((shots, f"{row['title']} {right}{_beside_ours(row)}"))
    named = "; ".join(said for _, said in sorted(found))
    return f"{cut(result['task'], NAME_CHARS)}, with more labelled examples: {named}." if named else ""


def _beside_ours(row: Row) -> str:
    if row["gain_of_ours"] is None:
        return ""
    gain = row["gain_of_ours"]
    if not round(gain["mean"], 3):
        return ", as often as ours on the same seeds"
    ahead = f"{number(100 * abs(gain['mean']), 1)} points {'behind' if gain['mean'] > 0 else 'ahead of'} ours"
    ends = sorted((gain["low"], gain["high"]) if gain["mean"] > 0 else (-gain["low"], -gain["high"]))
    return f", {ahead} on the same seeds (95 % interval {' to '.join(map(points, ends))})"


def _spread(spread: Row) -> str:
    return shown_mean(spread["mean"], spread["sd"], spread["n_seeds"])


def _mean(row: Row) -> str:
    accuracy = row["accuracy"]
    interval = f"95 % interval {share(accuracy['low'])} to {share(accuracy['high'])}"
    return f"{share(accuracy['mean'])} ({interval}, {_seeds(accuracy['n_seeds'])})"


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else plural(count, "seed")


def _task_sections(data: BenchmarkData, result: Row) -> Iterator[Section]:
    name, seeds = cut(result["task"], NAME_CHARS), len(result["seeds"])
    drawn = data.identity["shots_per_label"] is not None
    intro = (
        f"{plural(result['n_test'], 'test text')}, {plural(seeds, 'seed')}: each "
        f"{'draws its examples, ' * drawn}writes and trains anew. Mean ± standard deviation over the seeds; intervals "
        f"are for other {'draws' if drawn else 'seeds'} and other such texts, with one seed for texts alone."
    )
    yield Section(f"{name}: methods", intro, tuple(method_blocks(result)))
    if data.runs[result["task"]]:
        for section in answer_sections(data.runs[result["task"]]):
            yield replace(section, title=f"{name}: {section.title[:1].lower()}{section.title[1:]}")
    accuracy, variety = accuracy_curve(result, data.cells), diversity_curve(result, data.draws)
    if accuracy is not None:
        yield Section(f"{name}: more data", "What more real or more written texts are worth.", (accuracy,))
    if variety is not None:
        yield Section(f"{name}: more texts", "How much that is new more texts of a label bring.", (variety,))
    draws = [row for row in data.draws if row["task"] == result["task"]]
    if draws:
        yield Section(f"{name}: what was written", about_written(result, draws), tuple(written_blocks(result, draws)))
    worded = next((row for row in draws if row["words"]), None)
    if worded is not None:
        yield Section(f"{name}: words", WORDS, tuple(word_blocks(result, worded)))


def _cost(data: BenchmarkData) -> Section:
    trained = sum(row["train_seconds"] or 0 for row in data.cells)
    # Methods that share a draw each name its seconds.
    of_draws = {row["draw"]: row["generate_seconds"] for row in data.cells if row["generate_seconds"]}
    written = sum(of_draws.values())
    answered = sum(row["ms_per_text"] * row["n_test"] / 1000 for row in data.cells)
    text = (
        f"{plural(len(data.cells), 'cell')}: {trained:,.0f} s of training, {written:,.0f} s of writing and judging, "
        f"{answered:,.0f} s of answering test texts. Cells that went on after a stop are not counted in full."
        f"{tokens_written(list(chain.from_iterable(run.candidates for runs in data.runs.values() for run in runs)))}"
    )
    return Section("What it cost", text)


def _limits(data: BenchmarkData) -> Section:
    anew = "another draw of examples"
    if data.identity["shots_per_label"] is None:
        anew = "another writing and training on the same examples (not another draw of them)"
    sentences = [
        f"The test texts are the same for every seed. Intervals say how much {anew} and another sample of such texts "
        "would move a mean; those of a difference are of the same seeds and texts of both methods.",
        "Ours is compared with the other method that was best on these texts, which flatters that one a little.",
        "Calibration on the test texts looks at all of them before it answers one; nobody who classifies texts as they "
        "come can do that.",
        "A model may have seen these sets in its own training; that lifts every method that uses it.",
    ]
    if min((len(result["seeds"]) for result in data.results), default=0) < 3:
        sentences.insert(0, "Fewer than three seeds: the spread between draws is not known from this.")
    return Section("What this does not say", "", (Sentences(tuple(sentences)),))


def _of_draws(runs: Sequence[RunData]) -> Iterator[str]:
    return (warning for run in runs for warning in run.task.warnings)


def _settings(data: BenchmarkData) -> Section:
    identity = data.identity
    commits = sorted({row["commit"] for row in data.cells if row["commit"]})
    versions: dict[str, set[str]] = {}
    for row in data.cells:
        for package, version in row["versions"].items():
            versions.setdefault(package, set()).add(version)
    mixed = [f"{package} {' and '.join(sorted(found))}" for package, found in versions.items() if len(found) > 1]
    instructions = sorted({name for row in data.cells for name in row.get("instructions", ())})
    threads = sorted({str(row["threads"]) for row in data.cells if "threads" in row})
    text = (
        f"Model {quoted(str(identity['model']))}, recipe {quoted(str(identity['recipe']['name']))}, "
        f"{identity['shots_per_label'] or 'all'} examples per label.{arithmetic(identity)} "
        f"Commits: {', '.join(commits) or 'not known'}. Threads of a process: {' or '.join(threads) or 'not known'}; "
        f"instructions of the CPU: {', '.join(instructions) or 'not known'}. "
        "Each draw is a run directory below runs/, with a report of its own by `handful report`."
    )
    if mixed:
        text += f" The cells were measured with different versions: {', '.join(mixed)}."
    warnings = [
        Paragraph(f"{cut(result['task'], NAME_CHARS)}: {cut(_FOLDERS.sub('', warning))}", warning=True)
        for result in data.results
        for warning in dict.fromkeys((*result["warnings"], *_of_draws(data.runs[result["task"]])))
    ]
    return Section(
        "What was run", "", (Paragraph(text), *warnings, Fold("The recipe", (recipe_table(identity["recipe"]),)))
    )
