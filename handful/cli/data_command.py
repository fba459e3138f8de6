"""`handful data`: one of the paper's sets as the files that the other commands read."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.console import say
from handful.cli.options import takes
from handful.errors import DataError

if TYPE_CHECKING:
    from handful.task import Task


@dataclass(frozen=True)
class DataOptions:
    """Which set, from where, to where."""

    name: Annotated[str, typer.Argument(help="sst2, trec or ag_news.")]
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the sets; each gets one of its own.")]
    files: Annotated[
        Path | None,
        typer.Option(help="Folder of the files as the authors distribute them (default: the hub, extra `data`)."),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Replace the set's files if they are there.")] = False


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("data")(_data)


@takes(DataOptions)
def _data(options: DataOptions) -> None:
    """Fetch one of the paper's sets, SST-2, TREC or AG News, and write it as CSV files."""
    from handful.paper_sets import from_distribution, from_hub, has_dev
    from handful.reading.delimited import encode_delimited
    from handful.storage.files import make_directory, write_atomic

    folder = options.output / options.name
    if folder.exists() and not options.force:
        raise DataError("it is there already", where=str(folder), mend="Name another folder with -o, or pass --force.")
    load: Callable[..., Task] = functools.partial(from_hub, options.name)
    if options.files is not None:
        load = functools.partial(from_distribution, options.name, options.files)
    task = load()
    splits = {"train": task.examples, "test": task.test or ()}
    if has_dev(options.name):
        splits["dev"] = load(test_split="dev").test or ()
    make_directory(options.output)
    make_directory(folder)
    for split, examples in splits.items():
        rows = [("text", "label"), *((example.text, example.label) for example in examples)]
        write_atomic(folder / f"{split}.csv", encode_delimited(rows))
    counts = ", ".join(f"{len(examples):,} {split}" for split, examples in splits.items())
    say(f"{folder}: {counts}")
    say(f"Next: {shlex.join(['handful', 'run', options.name, '--data', str(options.output)])}")
