"""`handful report`: the page of a run or benchmark; and the same at the end of `handful run` and `benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.console import say
from handful.errors import RunError

if TYPE_CHECKING:
    from handful.cli.watching import Watch
    from handful.run import Run


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("report")(_report)


def _report(run: Annotated[Path, typer.Argument(help="The directory of a run or benchmark.")]) -> None:
    """Write report.html of a run or benchmark anew."""
    from handful.run import open_run, read_manifest

    with open_run(run, read_manifest(run)) as opened:
        try:
            written = _written(opened)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            # Files of another version, or that were changed by hand, may lack anything or hold anything.
            why = " ".join(str(error).split())[:200]
            message = f"the files of this run cannot be made into a page: {type(error).__name__}: {why}"
            mend = "Was it written by another version of handful? Give the run's command again."
            raise RunError(message, where=str(run), mend=mend) from error
        say(f"Report: {written}")


def _written(run: Run) -> Path:
    from handful.report.benchmark_report import write_benchmark_report
    from handful.report.run_report import write_report

    if "estimate" in run.manifest["identity"]:
        mend = "Its numbers are in estimate.json, its command shows them again; a run or a benchmark has a page."
        raise RunError("an estimate has no page", where=str(run.directory), mend=mend)
    return write_benchmark_report(run) if "benchmark" in run.manifest["identity"] else write_report(run)


def report_at_the_end(run: Run, watch: Watch) -> Path | None:
    """Write the report of a run that is through; if that fails, say so: the run itself stands."""
    try:
        return _written(run)
    # Hours of work are done by now, and their table is not shown yet.
    except Exception as error:  # noqa: BLE001
        watch.warn(f"the report was not written: {error}. `handful report {run.directory}` tries again.")
        return None
