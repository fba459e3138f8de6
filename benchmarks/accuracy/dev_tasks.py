"""Write development tasks: what recipes are chosen by, so that test sets stay for the final table.

    python -m benchmarks.accuracy.dev_tasks FOLDER [--size 1000]

SST-2 has a development set; of TREC and AG News a part of the training set is cut out, the same for every seed. Each
task is a task file that `handful benchmark` takes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from handful.paper_sets import PAPER_SETS, load_paper_set
from handful.records import Example
from handful.seeding import stream
from handful.task import Task

_SIZE = 1000


def main(arguments: Sequence[str]) -> int:
    """Write the tasks; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.dev_tasks", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=_SIZE, help=f"development texts per task (default: {_SIZE})")
    options = parser.parse_args(arguments)
    for name in PAPER_SETS:
        print(write_task(development_task(name, options.size), options.folder / name))
    return 0


def development_task(name: str, size: int) -> Task:
    """Return a set whose test texts are development texts, none of them among its examples."""
    if PAPER_SETS[name].hub_dev is not None:
        task = load_paper_set(name, test_split="dev")
        held_out = list(task.test or ())
        rest = list(task.examples)
    else:
        task = load_paper_set(name)
        rest = sorted(set(task.examples), key=lambda example: (example.text, example.label))
        stream(0, "development", name).shuffle(rest)
        held_out, rest = rest[:size], rest[size:]
    seen = {example.text for example in held_out}
    chosen = stream(0, "development-limit", name).sample(held_out, min(size, len(held_out)))
    return Task.create(
        f"{name}-dev",
        list(task.labels),
        [example for example in rest if example.text not in seen],
        test=chosen,
        instruction=task.instruction,
        text_name=task.text_name,
    )


def write_task(task: Task, folder: Path) -> Path:
    """Write a task file with its examples and test texts beside it; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(task.examples, folder / "examples.csv")
    _write_rows(task.test or (), folder / "test.csv")
    labels = {entry.name: {"verbalizer": entry.verbalizer, "description": entry.description} for entry in task.labels}
    content = {
        "name": task.name,
        "instruction": task.instruction,
        "text_name": task.text_name,
        "labels": labels,
        "examples": "examples.csv",
        "test": "test.csv",
    }
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _write_rows(rows: Sequence[Example], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([row.text, row.label] for row in rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
