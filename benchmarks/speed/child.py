"""A process of its own: its wall time and the most memory it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.speed.machine import ROOT

_OURS = ("GOMP_SPINCOUNT",)
"""Set in this process by `handful.llm`; a child sets it itself if it is ours."""

_SMALL_PARENT = """
import json, os, subprocess, sys, time
report, command = sys.argv[1], sys.argv[2:]
started = time.perf_counter()
process = subprocess.Popen(command)
_, status, usage = os.wait4(process.pid, 0)
values = [time.perf_counter() - started, usage.ru_maxrss * 1024 / 1e9, os.waitstatus_to_exitcode(status)]
with open(report, "w") as file:
    json.dump(values, file)
"""
"""Linux counts the memory of the process that starts another one into the other's peak: a small one starts it."""


@dataclass(frozen=True)
class Finished:
    """What a process took and wrote."""

    seconds: float
    """Wall time from start to end."""
    peak_gb: float
    """Largest resident set, in 10^9 bytes (`ru_maxrss`, KiB on Linux)."""
    stdout: str


def run(command: Sequence[str], stdin: str = "") -> Finished:
    """Run a command in the checkout; its stderr goes where ours goes.

    Raises:
        RuntimeError: It ended with another code than 0.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _OURS}
    with tempfile.NamedTemporaryFile("r") as report:
        small = [sys.executable, "-S", "-c", _SMALL_PARENT, report.name, *command]
        done = subprocess.run(
            small, cwd=ROOT, env=environment, input=stdin, stdout=subprocess.PIPE, text=True, check=True
        )
        seconds, peak_gb, code = json.load(report)
    if code:
        raise RuntimeError(f"{command[0]} ended with code {code}")
    return Finished(seconds, peak_gb, done.stdout)
