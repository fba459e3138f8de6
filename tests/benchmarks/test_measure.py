"""The script that measures a set as the results have it, on a small task and the scripted model."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.accuracy.publish import publish
from tests.commands import write_task

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "accuracy" / "measure.sh"


def test_five_seeds_of_two_processes_are_one_table(tmp_path: Path) -> None:
    write_task(tmp_path)
    changed = {
        "PYTHON": sys.executable,
        "METHODS": "zero_shot,lora_real:full",
        "ARGUMENTS": "--model scripted --set generate.synthetic_per_label=3",
    }
    command = ["sh", str(SCRIPT), str(tmp_path / "task.yaml"), str(tmp_path / "measured")]
    done = subprocess.run(command, env={**os.environ, **changed}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results"
    results.mkdir()
    publish(tmp_path / "measured" / "all", results)
    with (results / "accuracy.csv").open(newline="") as file:
        rows = [(row["method"], row["seed"]) for row in csv.DictReader(file) if row["calibration"] == "raw"]
    assert sorted(rows) == [("lora_real", "0"), *(("zero_shot", str(seed)) for seed in range(5))]


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    command = ["sh", str(SCRIPT), str(tmp_path / "none.yaml"), str(tmp_path / "measured")]
    done = subprocess.run(
        command, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "not all was measured" in done.stderr
