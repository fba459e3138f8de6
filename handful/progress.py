"""How long work is watched and stopped; the library reports here and only `handful.cli` prints."""

from __future__ import annotations

from typing import Protocol

from handful.errors import Interrupted


class Progress(Protocol):
    """Hears what a run is doing. What is read from disk is reported with `skip`, not `advance`."""

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """A stage begins; `total` counts `unit`s, None if unknown."""
        ...

    def advance(self, count: int) -> None:
        """So many more units of the current stage are done."""
        ...

    def skip(self, count: int) -> None:
        """So many units of the current stage were done before and are read from disk."""
        ...

    def finish(self, summary: str) -> None:
        """The current stage is done and saved."""
        ...

    def warn(self, message: str) -> None:
        """Something the user should know, that does not stop the run."""
        ...

    def stop_requested(self) -> bool:
        """Whether the user asked to stop; the run then saves and ends at the next whole batch."""
        ...


class Silent:
    """A `Progress` that hears nothing and never stops."""

    def start(self, stage: str, total: int | None, unit: str) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""

    def skip(self, count: int) -> None:
        """Do nothing."""

    def finish(self, summary: str) -> None:
        """Do nothing."""

    def warn(self, message: str) -> None:
        """Do nothing."""

    def stop_requested(self) -> bool:
        """Never stop."""
        return False


def stop_if_asked(progress: Progress) -> None:
    """Raise Interrupted if the user asked to stop; call it where everything finished is saved."""
    if progress.stop_requested():
        raise Interrupted("stopped; everything finished so far is saved")
