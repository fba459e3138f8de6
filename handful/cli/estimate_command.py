"""`handful estimate`: what can be known without a test set."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.console import say, say_json, show_table
from handful.cli.options import JobOptions, takes
from handful.cli.stopping import stopping_gently
from handful.cli.watching import watching

if TYPE_CHECKING:
    from handful.benchmark.estimate import Estimate
    from handful.evaluation.filter_quality import Share

_FOLDS = 4


@dataclass(frozen=True, kw_only=True)
class EstimateOptions(JobOptions):
    """What is estimated, and with how many folds."""

    folds: Annotated[
        int | None,
        typer.Option(
            help="Parts the examples are left out in (default: 4, or as many as the rarest label has).", min=2
        ),
    ] = None


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("estimate")(_estimate)


@takes(EstimateOptions)
def _estimate(options: EstimateOptions) -> None:
    """Estimate accuracy without a test set: every example is answered by a classifier made without it."""
    from handful.benchmark.estimate import estimate, identity
    from handful.environment import environment
    from handful.run import open_run

    job = options.make_job()
    fewest = min(len(job.task.examples_of(label)) for label in job.task.label_names)
    n_folds = options.folds or max(2, min(_FOLDS, fewest))
    directory = options.run or options.run_directory(job).with_name(f"{options.run_directory(job).name}-estimate")
    manifest = {"identity": identity(job, n_folds), "environment": environment()}
    with (
        stopping_gently() as stop,
        watching(stop, as_json=options.as_json) as watch,
        open_run(directory, manifest, force=options.force) as run,
    ):
        found = estimate(job, run, n_folds, watch)
        run.publish_json("estimate", {**dataclasses.asdict(found), "advice": found.advice()})
    if options.as_json:
        say_json({"event": "result", "run": str(directory), **dataclasses.asdict(found), "advice": found.advice()})
    else:
        _show(job.task.name, found)


def _show(name: str, found: Estimate) -> None:
    rows = [[entry.title, *_shown(entry.right), *_shown(entry.right_calibrated)] for entry in found.methods]
    columns = ["method", "accuracy", "95 % interval", "calibrated on the generated pool", "95 % interval"]
    title = f"{name}: {found.n_examples} examples, each answered by a classifier made without it; {found.n_folds} folds"
    show_table(columns, rows, title=title)
    kept = [[label, str(share.total), *_shown(share)] for label, share in found.acceptance.items() if share.total]
    if kept:
        show_table(["label", "texts judged", "agreed", "95 % interval"], kept, title="What the judge agreed with")
    for sentence in found.advice():
        say(sentence)


def _shown(share: Share) -> list[str]:
    if not share.total:
        return ["-", "-"]
    low, high = share.interval
    return [f"{share.value:.2f} ({share.hits} of {share.total})", f"{low:.2f} to {high:.2f}"]
