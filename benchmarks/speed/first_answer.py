"""How long `handful predict` takes from its start to the first answer, with the model cached."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.speed.machine import ROOT
from benchmarks.speed.models import STANDARD, tuned_directory
from benchmarks.speed.progress import say
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import texts


def measure(settings: Settings) -> PartResult:
    """Return `first_answer_seconds`: wall time to the first line on stdout, median of the repeats, one text."""
    directory = tuned_directory("trec", STANDARD, settings)
    source = settings.scratch / "one-text.jsonl"
    source.write_text(json.dumps({"text": texts("trec", 1)[0]}) + "\n", encoding="utf-8")
    first_line(directory, source)  # whatever the system caches is cached now
    seconds = []
    for repeat in range(settings.repeats):
        seconds.append(first_line(directory, source))
        say(f"first answer {repeat + 1}/{settings.repeats}: {seconds[-1]:.2f} s")
    return PartResult({"first_answer_seconds": statistics.median(seconds)}, {"seconds": seconds})


def first_line(directory: Path, source: Path) -> float:
    """Return the seconds from the start of `handful predict` to its first line.

    Raises:
        RuntimeError: It wrote none.
    """
    command = [sys.executable, "-m", "handful", "predict", str(directory), str(source)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    if not line:
        raise RuntimeError(f"handful predict ended with code {process.returncode} and wrote nothing")
    return seconds
