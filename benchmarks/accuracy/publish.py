"""Keep a finished benchmark of one task: `python -m benchmarks.accuracy.publish FOLDER`.

Its rows take the place in `results/accuracy.csv` of the task's with the same recipe, changed by a method or not. Its
page becomes `results/<task>.html`, or `<task>-<recipe>.html` for another recipe than `default`.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy.readme_table import ACCURACY, Row, base_recipe, read


def publish(benchmark: Path, results: Path = ACCURACY.parent) -> str:
    """Put a benchmark's rows and page beside the others', and return its page's name without the ending.

    Raises:
        SystemExit: It is not finished, has several tasks, or another table's columns.
    """
    missing = [name for name in ("accuracy.csv", "report.html") if not (benchmark / name).is_file()]
    if missing:
        sys.exit(f"{benchmark} has no {missing[0]}: give the benchmark's command again, it goes on where it stopped")
    new = read(benchmark / "accuracy.csv")
    measured = {_task_and_recipe(row) for row in new}
    if len(measured) != 1:
        sys.exit(f"{benchmark} has {len(measured)} tasks; a page here is of one: measure each into a folder of its own")
    (task, recipe), *_ = measured
    page = task if recipe == "default" else f"{task}-{recipe}"
    table = results / ACCURACY.name
    old = read(table) if table.exists() else []
    if old and list(old[0]) != list(new[0]):
        sys.exit(f"{benchmark / 'accuracy.csv'} and {table} have other columns: measure again with this version")
    shutil.copyfile(benchmark / "report.html", results / f"{page}.html")
    out = io.StringIO()
    writer = csv.DictWriter(out, list(new[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*(row for row in old if _task_and_recipe(row) not in measured), *new])
    table.write_text(out.getvalue(), encoding="utf-8", newline="")
    return page


def _task_and_recipe(row: Row) -> tuple[str, str]:
    return row["task"], base_recipe(row)


def main(arguments: Sequence[str]) -> None:
    """Publish, and say what."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.publish", description=__doc__)
    parser.add_argument("benchmark", type=Path)
    print(f"{publish(parser.parse_args(arguments).benchmark)}: accuracy.csv and the page are as measured")


if __name__ == "__main__":
    main(sys.argv[1:])
