"""SIGKILL at random moments of a run with the real model, then the same command: the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TASK = Path(__file__).parents[2] / "examples" / "support-tickets" / "task.yaml"
SMALL = ("generate.synthetic_per_label=2", "generate.batch_size=4", "generate.max_rounds=2", "train.epochs=2")
KILLS, KILLS_PER_RUN = 20, 5


def start(directory: Path) -> subprocess.Popen[bytes]:
    options = [word for change in (*SMALL, "train.min_steps=12") for word in ("--set", change)]
    command = [
        sys.executable,
        "-m",
        "handful",
        "train",
        str(TASK),
        "--run",
        str(directory),
        *options,
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(directory: Path) -> float:
    started = time.monotonic()
    assert start(directory).wait(timeout=600) == 0
    return time.monotonic() - started


def through_before_the_kill(directory: Path, seconds: float) -> bool:
    """Start the run and kill it after some seconds; returns whether it was through by then."""
    process = start(directory)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    return process.wait() == 0


def outputs(directory: Path) -> dict[str, bytes]:
    files = [directory / "candidates.jsonl", directory / "verdicts.jsonl", directory / "training.jsonl"]
    files += sorted((directory / "adapter").iterdir())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(3600)
def test_killed_at_random_moments_the_same_command_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = finish(tmp_path / "whole")
    expected = outputs(tmp_path / "whole")
    moments = random.Random(int(os.environ.get("HANDFUL_KILL_SEED", "0")))
    n_killed = 0
    while n_killed < KILLS:
        directory = tmp_path / f"killed-before-{n_killed}"
        for _ in range(KILLS_PER_RUN):
            n_killed += not through_before_the_kill(directory, moments.uniform(1, whole * 2 / 3))
        finish(directory)
        assert outputs(directory) == expected, f"differs after {n_killed} kills"
