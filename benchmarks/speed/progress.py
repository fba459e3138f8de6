"""What the benchmark tells while it runs: lines on stderr, since stdout is for the result."""

from __future__ import annotations

import sys
import time

_STARTED = time.monotonic()


def say(text: str) -> None:
    """Write a line to stderr, with the seconds since the start."""
    print(f"[{time.monotonic() - _STARTED:7.1f} s] {text}", file=sys.stderr, flush=True)
