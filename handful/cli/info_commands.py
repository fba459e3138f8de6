"""`handful status` and `handful doctor`: how far a run is, and what this machine has."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handful.cli.console import plain_line, results_table, say, say_json, show_table, tally_table
from handful.errors import ModelError

if TYPE_CHECKING:
    from handful.run_status import RunStatus

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME", "HANDFUL_CACHE", "HANDFUL_DATA")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("status")(_status)
    app.command("doctor")(_doctor)


def _status(
    run: Annotated[Path, typer.Argument(help="A run directory; it may be at work.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show how far a run is."""
    from handful.run_status import read_status

    status = read_status(run)
    if as_json:
        say_json({"run": str(run), **asdict(status)})
    else:
        _show_status(run, status)


def _show_status(run: Path, status: RunStatus) -> None:
    identity, recipe = status.identity, status.identity["recipe"]
    task, name, model = map(plain_line, (identity["task_name"], recipe["name"], identity["model"]))
    say(f"{run}: task {task}, recipe {name}, seed {identity['seed']},")
    say(f"  model {model}")
    if status.holder:
        say(plain_line(f"  at work: process {status.holder['pid']} since {status.holder['since']}"))
    for stage, done in status.done.items():
        say(f"  {stage:<9} {'done' if done else 'not done'}")
    if status.adapter_fault:
        say(plain_line(f"  the classifier is damaged: {status.adapter_fault}"))
    if status.labels:
        show_table(*tally_table(status.labels))
    if status.results:
        columns, rows = results_table(status.results)
        show_table(columns, rows, title=f"{status.results['n_test']} test texts")


def _doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False) -> None:
    """Show what this machine has: versions, device, memory, disk, models."""
    facts = _facts()
    if as_json:
        say_json(facts)
        return
    for group, values in facts.items():
        say(group)
        for key, value in values.items():
            say(f"  {key:<24} {_shown(value)}")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _facts() -> dict[str, dict[str, Any]]:
    from handful import limits
    from handful.environment import memory_bytes, versions
    from handful.llm.gguf_cache import cache_folder
    from handful.llm.loading import choose_device, choose_dtype

    cache = cache_folder()
    device = choose_device("auto")
    memory = memory_bytes()
    return {
        "versions": versions(),
        "machine": {
            "device": str(device),
            "dtype": str(choose_dtype("auto", device)).removeprefix("torch."),
            "cores": os.cpu_count(),
            "memory": "unknown" if memory is None else f"{memory / 1e9:.1f} GB",
            "disk free here": _free(Path.cwd()),
            "disk free at the cache": _free(cache),
        },
        "models": {
            "packaged smollm2-135m": _packaged(),
            "cache": str(cache),
            "cache entries": sorted(entry.name for entry in cache.iterdir() if entry.is_dir())
            if cache.is_dir()
            else [],
        },
        "environment": {name: os.environ.get(name) for name in _OFFLINE},
        "limits": {
            name.lower().replace("_", " "): f"{value:,}" for name, value in vars(limits).items() if name.isupper()
        },
    }


def _packaged() -> str:
    from handful.llm.sources import packaged_gguf

    try:
        return str(packaged_gguf())
    except ModelError as error:
        return error.message


def _free(path: Path) -> str:
    existing = next((place for place in (path, *path.parents) if place.exists()), path)
    return f"{shutil.disk_usage(existing).free / 1e9:.1f} GB"
