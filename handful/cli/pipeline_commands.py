"""`handful run` and its parts: generate, filter, train, evaluate."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from handful.cli.console import results_table, say, say_json, show_table, tally_table
from handful.cli.options import JobOptions, takes
from handful.cli.report_command import report_at_the_end
from handful.cli.stopping import stopping_gently
from handful.cli.watching import Watch, watching
from handful.errors import RunError, TaskError

if TYPE_CHECKING:
    from handful.job import Job
    from handful.pipeline import Outcome, Stage

_TUNED = ("train", "evaluate")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("run")(_run)
    app.command("generate")(_generate)
    app.command("filter")(_filter)
    app.command("train")(_train)
    app.command("evaluate")(_evaluate)


@takes(JobOptions)
def _run(options: JobOptions) -> None:
    """Do everything: write texts, check them, tune, compare; the same command goes on after a stop."""
    _work(options, "evaluate")


@takes(JobOptions)
def _generate(options: JobOptions) -> None:
    """Write texts and check them in turn, until there is enough."""
    _work(options, "generate")


@takes(JobOptions)
def _filter(options: JobOptions) -> None:
    """Choose the training examples (after generating, if that is not done)."""
    _work(options, "filter")


@takes(JobOptions)
def _train(options: JobOptions) -> None:
    """Tune the classifier (after all before it); also under `accelerate launch`, once filtered."""
    from handful.distributed import n_processes

    if n_processes() > 1:
        _train_in_several_processes(options)
    else:
        _work(options, "train")


@takes(JobOptions)
def _evaluate(options: JobOptions) -> None:
    """Measure every method on the test texts (after all before it)."""
    job = options.make_job()
    if not job.task.test:
        raise TaskError(
            "there are no test texts to evaluate on", where=job.task.source, mend="Add `test: test.csv` to the task."
        )
    _work(options, "evaluate", job)


def _work(options: JobOptions, until: Stage, job: Job | None = None) -> None:
    from handful.distributed import n_processes
    from handful.environment import environment
    from handful.pipeline import run_pipeline, starving_labels
    from handful.run import open_run

    if n_processes() > 1:
        mend = "Do this stage in one process, then `accelerate launch -m handful train ...`."
        raise RunError("only `handful train` runs in several processes", mend=mend)
    job = job or options.make_job()
    directory = options.run_directory(job)
    manifest = {"identity": job.identity(), "environment": environment()}
    with stopping_gently() as stop, watching(stop, as_json=options.as_json) as watch:
        for warning in job.task.warnings:
            watch.warn(warning)
        with open_run(directory, manifest, force=options.force) as run:
            watch.keep_in(run)
            outcome = run_pipeline(job, run, until=until, progress=watch)
            through = until == "evaluate" or (until == "train" and not job.task.test)
            # One that is there tells of what was before.
            report = report_at_the_end(run, watch) if through or (directory / "report.html").exists() else None
    starved = starving_labels(outcome.tallies, job.recipe)
    if options.as_json:
        _show_as_event(until, directory, outcome, starved, watch, report)
    else:
        _show_outcome(until, directory, outcome, starved, job.task.text_column)
        if report is not None:
            say(f"Report:     {report}")


def _train_in_several_processes(options: JobOptions) -> None:
    from handful.distributed import follow_training, rank, read_training
    from handful.environment import environment
    from handful.run import open_run
    from handful.tuning import tune_classifier

    job = options.make_job()
    directory = options.run_directory(job)
    with stopping_gently() as stop:
        rows, pool = read_training(directory, job)
        if rank() != 0:
            follow_training(job, directory, rows, pool)
            return
        manifest = {"identity": job.identity(), "environment": environment()}
        with watching(stop, as_json=options.as_json) as watch, open_run(directory, manifest) as run:
            watch.keep_in(run)
            adapter = tune_classifier(job, rows, pool, run, watch)
    if options.as_json:
        say_json({"event": "result", "run": str(directory), "adapter": str(adapter), "timings": watch.timings})
    else:
        _show_adapter(directory, job.task.text_column)


def _show_as_event(
    until: Stage, directory: Path, outcome: Outcome, starved: Sequence[str], watch: Watch, report: Path | None
) -> None:
    result: dict[str, Any] = {
        "event": "result",
        "run": str(directory),
        "adapter": str(directory / "adapter") if until in _TUNED else None,
        "labels": _counts(outcome),
        "starved": list(starved),
        "training_examples": len(outcome.rows),
        "results": outcome.results,
        "report": None if report is None else str(report),
        "timings": watch.timings,
    }
    say_json(result)


def _show_outcome(until: Stage, directory: Path, outcome: Outcome, starved: Sequence[str], text_column: str) -> None:
    if outcome.results:
        columns, rows = results_table(outcome.results)
        show_table(columns, rows, title=f"{outcome.results['task']}, {outcome.results['n_test']} test texts")
    else:
        show_table(*tally_table(_counts(outcome)))
    if starved:
        say(f"Labels with too few generated examples: {', '.join(starved)}")
    if until == "filter":
        say(f"{len(outcome.rows)} training examples: {directory / 'training.jsonl'}")
    if until == "evaluate" and not outcome.results:
        say("Nothing was measured: the task has no test texts.")
    if until in _TUNED:
        _show_adapter(directory, text_column)


def _counts(outcome: Outcome) -> dict[str, dict[str, int]]:
    return {label: asdict(count) for label, count in outcome.tallies.items()}


def _show_adapter(directory: Path, text_column: str) -> None:
    column = [] if text_column == "text" else ["--text-column", text_column]
    command = ["handful", "predict", str(directory), "texts.csv", *column, "-o", "predictions.csv"]
    say(f"Classifier: {directory / 'adapter'}")
    say(f"Use it:     {shlex.join(command)}")
