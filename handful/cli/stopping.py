"""Ctrl-C and SIGTERM during work: the first lets the batch finish and saves, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from handful.cli.console import tell

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """Whether the user asked to stop."""

    requested: bool = False


@contextmanager
def stopping_gently() -> Iterator[StopRequest]:
    """Turn the first signal of the block into a request; the second raises KeyboardInterrupt."""
    request = StopRequest()

    def on_signal(signum: int, frame: object) -> None:
        if request.requested:
            raise KeyboardInterrupt
        request.requested = True
        tell("\nStopping after this batch; once more stops at once.")

    try:
        before = [signal.signal(number, on_signal) for number in _SIGNALS]
    except ValueError:  # not in the main thread: nothing to catch there
        yield request
        return
    try:
        yield request
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
