"""What a run reports while it works: bars on a terminal, lines elsewhere, JSON events on request; and its timings."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from handful.cli.console import drawing_console, draws_on_terminal, plain, say_json, tell, tell_warning

if TYPE_CHECKING:
    from handful.cli.stopping import StopRequest
    from handful.run import Run


@dataclass
class Stage:
    """The stage at work."""

    name: str
    total: int | None
    unit: str
    started: float
    done: int = 0
    """Units computed now."""
    skipped: int = 0
    """Units read from disk."""

    @property
    def seconds(self) -> float:
        """Time since it began."""
        return time.monotonic() - self.started


class Display(Protocol):
    """One way of showing progress."""

    def begin(self, stage: Stage) -> None:
        """A stage begins."""
        ...

    def move(self, stage: Stage) -> None:
        """Its counts changed."""
        ...

    def end(self, stage: Stage, summary: str) -> None:
        """It is done."""
        ...

    def warn(self, message: str) -> None:
        """The user should know this."""
        ...


class Watch:
    """The `Progress` of the command line: keeps times and warnings, and leaves the showing to a display.

    Args:
        display: Shows it.
        stop: Whether the user asked to stop.
    """

    def __init__(self, display: Display, stop: StopRequest) -> None:
        self._display = display
        self._stop = stop
        self._run: Run | None = None
        self._stage = Stage("", None, "", time.monotonic())
        self.timings: dict[str, dict[str, Any]] = {}
        """By stage: seconds, units and unit. Only what was computed counts, over all starts of the run."""

    def keep_in(self, run: Run) -> None:
        """Keep `timings.json` in the run directory from now on, going on from what is there."""
        from handful.run_status import read_timings

        self._run = run
        self.timings = (read_timings(run.directory) or {}).get("stages", {})

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """See `Progress.start`."""
        self._stage = Stage(stage, total, unit, time.monotonic())
        self._display.begin(self._stage)

    def advance(self, count: int) -> None:
        """See `Progress.advance`."""
        self._stage.done += count
        self._display.move(self._stage)

    def skip(self, count: int) -> None:
        """See `Progress.skip`."""
        self._stage.skipped += count
        self._display.move(self._stage)

    def finish(self, summary: str) -> None:
        """See `Progress.finish`."""
        self._record(self._stage)
        self._display.end(self._stage, summary)

    def warn(self, message: str) -> None:
        """See `Progress.warn`."""
        self._display.warn(message)

    def stop_requested(self) -> bool:
        """See `Progress.stop_requested`."""
        stage = self._stage
        if self._stop.requested and stage.done:
            # Whoever asks will stop: what the stage has done until now would never be counted.
            self._record(stage)
            began = dataclasses.replace(stage, done=0, skipped=stage.done + stage.skipped, started=time.monotonic())
            self._stage = began
        return self._stop.requested

    def _record(self, stage: Stage) -> None:
        if not stage.done:
            return
        before = self.timings.get(stage.name, {}) if stage.skipped else {}
        self.timings[stage.name] = {
            "seconds": round(before.get("seconds", 0.0) + stage.seconds, 3),
            "units": before.get("units", 0) + stage.done,
            "unit": stage.unit,
        }
        if self._run is not None:
            total = round(sum(entry["seconds"] for entry in self.timings.values()), 3)
            self._run.publish_json("timings", {"stages": self.timings, "seconds": total})


class LineDisplay:
    """One line per stage on stderr."""

    def begin(self, stage: Stage) -> None:
        """See `Display`."""

    def move(self, stage: Stage) -> None:
        """See `Display`."""

    def end(self, stage: Stage, summary: str) -> None:
        """See `Display`."""
        read = "" if stage.done or not stage.skipped else ", read from disk"
        tell(f"{stage.name}: {summary} ({stage.seconds:.1f} s{read})")

    def warn(self, message: str) -> None:
        """See `Display`."""
        tell_warning(message)


class EventDisplay:
    """JSON lines on stdout."""

    def begin(self, stage: Stage) -> None:
        """See `Display`."""
        say_json({"event": "stage_start", "stage": stage.name, "total": stage.total, "unit": stage.unit})

    def move(self, stage: Stage) -> None:
        """See `Display`."""

    def end(self, stage: Stage, summary: str) -> None:
        """See `Display`."""
        counts = {"computed": stage.done, "read_from_disk": stage.skipped, "seconds": round(stage.seconds, 3)}
        say_json({"event": "stage_end", "stage": stage.name, "summary": summary, **counts})

    def warn(self, message: str) -> None:
        """See `Display`."""
        say_json({"event": "warning", "message": message})


class BarDisplay:
    """A moving bar with rate and time left; finished stages stay as lines above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=drawing_console(),
            transient=True,
        )
        self._task: Any = None

    def begin(self, stage: Stage) -> None:
        """See `Display`."""
        self._clear()
        self._task = self.bars.add_task(plain(stage.name), total=stage.total, rate="")

    def move(self, stage: Stage) -> None:
        """See `Display`."""
        # What is read from disk is taken off the total: counted, it would spoil rate and time left.
        total = None if stage.total is None else stage.total - stage.skipped
        rate = f"{stage.done / max(stage.seconds, 1e-3):.1f} {stage.unit}/s"
        self.bars.update(self._task, completed=stage.done, total=total, rate=rate)

    def end(self, stage: Stage, summary: str) -> None:
        """See `Display`."""
        self._clear()
        LineDisplay().end(stage, summary)

    def warn(self, message: str) -> None:
        """See `Display`."""
        tell_warning(message)

    def _clear(self) -> None:
        if self._task is not None:
            self.bars.remove_task(self._task)
            self._task = None


@contextmanager
def watching(stop: StopRequest, *, as_json: bool) -> Iterator[Watch]:
    """Show the work of the block in the way that fits: events, a bar, or lines."""
    if as_json:
        yield Watch(EventDisplay(), stop)
    elif draws_on_terminal():
        display = BarDisplay()
        with display.bars:
            yield Watch(display, stop)
    else:
        yield Watch(LineDisplay(), stop)
