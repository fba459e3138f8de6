"""`handful benchmark`: methods, tasks and seeds against each other."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.console import say, say_json, show_table
from handful.cli.options import (
    PAPER_SHOTS,
    ModelOptions,
    RecipeOptions,
    limit_test,
    named_task,
    rare_labels,
    require_handful,
    takes,
)
from handful.cli.report_command import report_at_the_end
from handful.cli.stopping import stopping_gently
from handful.cli.watching import watching
from handful.errors import RecipeError, TaskError

if TYPE_CHECKING:
    from handful.benchmark.benchmark import TaskResults
    from handful.benchmark.plan import BenchmarkPlan
    from handful.task import Task

_MOST_SEEDS = 1000
_METHODS = "zero_shot,in_context,lora_real,lora_synthetic"


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(RecipeOptions, ModelOptions):
    """What is measured, and where the results go."""

    tasks: Annotated[list[str], typer.Argument(help="Task files (YAML), or the paper's sets: sst2, trec, ag_news.")]
    output: Annotated[Path, typer.Option("--output", "-o", help="Benchmark directory; the same command goes on.")] = (
        Path("runs/benchmark")
    )
    methods: Annotated[
        str,
        typer.Option(
            help="Comma-separated: zero_shot, in_context, lora_real, lora_synthetic, lora_synthetic_unfiltered, "
            "lora_synthetic_random, llm_probe, encoder_probe, setfit, tfidf; lora_real:25 takes 25 examples per label, "
            "lora_real:full the whole training set (first seed only); lora_synthetic[50] learns from 50 written texts "
            "per label, lora_synthetic[first=20,50] from the first 20 of them, "
            "lora_synthetic[generate.temperature=0.7] changes the recipe; @3 behind a method takes the first three "
            "seeds only."
        ),
    ] = _METHODS
    seeds: Annotated[str, typer.Option(help="How many seeds, from 0 on, or which (3-4); each draws examples anew.")] = (
        "5"
    )
    full_epochs: Annotated[int, typer.Option(help="Passes over the training set of lora_real:full.", min=1)] = 1
    encoder: Annotated[
        str | None, typer.Option(help="Sentence encoder of setfit and encoder_probe (default: MiniLM, packaged).")
    ] = None

    def make_plan(self) -> BenchmarkPlan:
        """Return everything that decides the results.

        Raises:
            HandfulError: A task, the recipe, a method or the model is not usable.
        """
        from handful.benchmark.plan import BenchmarkPlan
        from handful.evaluation.methods import methods_of
        from handful.paper_sets import PAPER_SETS

        shots = self.shots_per_label
        if shots is None and any(name in PAPER_SETS for name in self.tasks):
            shots = PAPER_SHOTS
        plan = BenchmarkPlan(
            tasks=tuple(self._load(name, shots) for name in self.tasks),
            methods=methods_of(self.methods),
            seeds=seeds_of(self.seeds),
            recipe=self.load_recipe(),
            engine=self.open_engine(),
            shots_per_label=shots,
            full_epochs=self.full_epochs,
            encoder=self.encoder,
        )
        names = [task.name for task in plan.tasks]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise TaskError(f"two tasks are called {twice!r}", where="tasks", mend="Give one another `name:`.")
        plan.check()
        return plan

    def _load(self, name: str, shots: int | None) -> Task:
        task = named_task(name, self.data)
        if shots is None:
            require_handful(task)
        else:
            task = dataclasses.replace(task, warnings=(*task.warnings, *rare_labels(task, shots)))
        return task if self.test_limit is None else limit_test(task, self.test_limit)


def seeds_of(asked: str) -> tuple[int, ...]:
    """Return the seeds of `5` (0 to 4) or `3-4`.

    Raises:
        RecipeError: It is neither.
    """
    from handful.reading.wording import short

    found = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", asked.strip(), re.ASCII)
    seeds = range(0)
    if found is not None:
        seeds = range(int(found[1]), int(found[2]) + 1) if found[2] else range(int(found[1]))
    if not 1 <= len(seeds) <= _MOST_SEEDS:
        mend = f"Write how many, 1 to {_MOST_SEEDS:,}, or the first and the last: 3-4."
        raise RecipeError(f"{short(asked)} are no seeds", where="--seeds", mend=mend)
    return tuple(seeds)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("benchmark")(_benchmark)


@takes(BenchmarkOptions)
def _benchmark(options: BenchmarkOptions) -> None:
    """Measure methods on tasks with several draws of examples; the same command goes on after a stop."""
    from handful.benchmark.benchmark import run_benchmark
    from handful.environment import environment
    from handful.run import open_run

    plan = options.make_plan()
    manifest = {"identity": plan.identity(), "environment": environment()}
    with (
        stopping_gently() as stop,
        watching(stop, as_json=options.as_json) as watch,
        open_run(options.output, manifest, force=options.force) as run,
    ):
        results = run_benchmark(plan, run, watch, force=options.force)
        report = report_at_the_end(run, watch)
    if options.as_json:
        shown = None if report is None else str(report)
        say_json({"event": "result", "benchmark": str(options.output), "report": shown})
    else:
        _show(options.output, results, report)


def _show(directory: Path, results: list[TaskResults], report: Path | None) -> None:
    from handful.benchmark.tables import brief_table

    for result in results:
        columns, rows = brief_table(result.summaries)
        show_table(columns, rows, title=f"{result.task.name}, {len(result.task.test or ())} test texts")
    say(f"Cells:  {directory / 'cells.jsonl'}, {directory / 'accuracy.csv'}")
    say(f"Tables: {directory / 'tables.md'}")
    if report is not None:
        say(f"Report: {report}")
