"""`handful benchmark`: every method on every task with every seed, cell by cell; killed, the same call goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.benchmark.cell import measured
from handful.benchmark.draw import Draw, draw_directory, plain_name
from handful.benchmark.draw_analysis import analysed
from handful.benchmark.plan import BenchmarkPlan, Cell
from handful.benchmark.scoring import ScoredCell, scored
from handful.benchmark.tables import MethodSummary, accuracy_csv, markdown, summarise
from handful.environment import environment
from handful.errors import PromptTooLongError
from handful.evaluation.evaluate import does_not_fit, result_row
from handful.evaluation.metrics import chance_of, confusion_matrix, per_label
from handful.progress import Progress, stop_if_asked
from handful.run import Run, open_run, refuse_links
from handful.task import Task

_ANSWERS = {"log_probs", "pool_log_probs"}


@dataclass(frozen=True)
class TaskResults:
    """What was measured on one task."""

    task: Task
    cells: Sequence[ScoredCell]
    summaries: Sequence[MethodSummary]


def run_benchmark(plan: BenchmarkPlan, run: Run, progress: Progress, *, force: bool = False) -> list[TaskResults]:
    """Measure every cell of a plan that the benchmark directory does not have, and publish what came out.

    Publishes `cells.jsonl` (a line per cell with all that is needed to repeat it), `accuracy.csv`, `tables.md` and
    `results.json` after every draw, as far as it is, and at the end `draws.jsonl` (what was written for each draw, and
    how good it is). Each draw of examples is a run directory of its own, below `runs/`.

    Args:
        plan: What is measured.
        run: The benchmark's directory.
        progress: Hears of it.
        force: Whether draws of other texts are moved away; else they are an error.

    Raises:
        TaskError: A task has no test texts, or fewer examples than a method asks for.
        RunError: The directory has draws of other texts, and `force` is not given.
        Interrupted: The progress asked to stop; finished cells stay.
    """
    plan.check()
    for task in plan.tasks:
        for warning in task.warnings:
            progress.warn(f"{task.name}: {warning}")
    measured_methods = {cell.method.key for cell in plan.cells()}
    for method in plan.methods:
        if method.key not in measured_methods:
            progress.warn(f"{method.key} is left out: it is measured with the first seeds alone, none of these")
    rows: list[dict[str, Any]] = []
    found: dict[str, list[ScoredCell]] = {task.name: [] for task in plan.tasks}
    draws: dict[Path, list[Cell]] = {}
    for cell in plan.cells():
        draws.setdefault(draw_directory(cell), []).append(cell)
    results: dict[str, TaskResults] = {}
    for directory, cells in draws.items():
        for row, scores in _measured_draw(run.directory / directory, cells, progress, force=force):
            rows.append({**row, "draw": directory.as_posix()})
            found[row["task"]] += scores
        task = cells[0].task
        results[task.name] = TaskResults(task, found[task.name], summarise(plan, task, found[task.name]))
        _publish(plan, run, rows, list(results.values()))
    run.publish("draws", analysed([cells[0] for cells in draws.values()], run, progress))
    return list(results.values())


def _publish(plan: BenchmarkPlan, run: Run, rows: list[dict[str, Any]], results: Sequence[TaskResults]) -> None:
    run.publish("cells", rows)
    run.publish_file("accuracy.csv", accuracy_csv([cell for result in results for cell in result.cells]))
    tables = "\n".join(f"## {result.task.name}\n\n{markdown(result.summaries)}" for result in results)
    run.publish_file("tables.md", tables.encode())
    run.publish_json("results", {"tasks": [_results_row(plan, result) for result in results]})


def _measured_draw(
    directory: Path, cells: Sequence[Cell], progress: Progress, *, force: bool
) -> list[tuple[dict[str, Any], list[ScoredCell]]]:
    """Measure the cells of one task and seed in their run directory."""
    job = cells[0].handful()
    done = []
    refuse_links(directory.parent, directory.name)
    with open_run(directory, {"identity": job.identity(), "environment": environment()}, force=force) as own:
        own.publish_json("task", job.task.to_dict())
        draw = Draw(job, own, progress)
        results = []
        for cell in cells:
            stop_if_asked(progress)
            try:
                answers = measured(cell, draw)
            except PromptTooLongError as error:
                if not cell.method.demonstrations:
                    raise
                progress.warn(does_not_fit(cell.method, error))
                continue
            scores = scored(cell.task, answers)
            own.publish(f"predictions/{plain_name(cell.method.key)}", _predictions(cell, answers, scores))
            row = {key: value for key, value in answers.items() if key not in _ANSWERS}
            row["scores"] = [score.score.to_row() for score in scores]
            row |= _by_label(cell.task, scores)
            done.append((row, scores))
            if cell.method.is_plain:
                results.append(result_row(cell.method, job, answers["log_probs"], answers, cell.plan.encoder))
        if results:
            measured_on = {"n_test": len(job.task.test or ()), "test": job.task.test_fingerprint()}
            own.publish_json("results", {"task": job.task.name, **measured_on, "methods": results})
    return done


def _by_label(task: Task, scores: Sequence[ScoredCell]) -> dict[str, Any]:
    """Return how well each label is found, and what is taken for what (rows true), as the method answers."""
    names = task.label_names
    predicted = [names[place] for score in scores if score.score.calibration == "raw" for place in score.predicted]
    gold = [example.label for example in task.test or ()]
    found = [dataclasses.asdict(entry) for entry in per_label(gold, predicted, names)]
    return {"labels": found, "confusions": confusion_matrix(gold, predicted, names)}


def _predictions(cell: Cell, answers: dict[str, Any], scores: Sequence[ScoredCell]) -> list[dict[str, Any]]:
    names = cell.task.label_names
    raw = next(score for score in scores if score.score.calibration == "raw")
    return [
        {"text_id": str(index), "label": example.label, "predicted": names[predicted], "log_probs": log_probs}
        for index, (example, predicted, log_probs) in enumerate(
            zip(cell.task.test or (), raw.predicted, answers["log_probs"], strict=True)
        )
    ]


def _results_row(plan: BenchmarkPlan, result: TaskResults) -> dict[str, Any]:
    return {
        "task": result.task.name,
        "n_test": len(result.task.test or ()),
        "labels": list(result.task.label_names),
        "seeds": list(plan.seeds),
        "warnings": list(result.task.warnings),
        "chance": chance_of(result.task.label_names, [example.label for example in result.task.test or ()]),
        "methods": [dataclasses.asdict(summary) for summary in result.summaries],
    }
