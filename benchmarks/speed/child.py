"""A process of its own: its wall time and the most memory it took."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.speed.machine import ROOT

_OURS = ("GOMP_SPINCOUNT",)
"""Set in this process by `handful.llm`; a child sets it itself if it is ours."""


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
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as written:
        told.write(stdin)
        told.seek(0)
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=told, stdout=written)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command[1:4]} ended with code {process.returncode}")
        written.seek(0)
        return Finished(seconds, usage.ru_maxrss * 1024 / 1e9, written.read())
