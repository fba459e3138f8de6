"""Prediction files that are written in committed chunks, survive a kill, and appear under their name when whole."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from handful.errors import RunError
from handful.storage.files import explained, locked, remove, rename_synced, sync_directory, write_atomic, write_synced
from handful.storage.jsonl import decode

_PARTIAL, _SIDECAR, _LOCK = ".partial", ".partial.json", ".lock"
_log = logging.getLogger(__name__)


def stands_beside(path: Path) -> list[Path]:
    """Return what stands beside an output until it is whole; a file that has such a name is overwritten."""
    return [path.with_name(path.name + ending) for ending in (_PARTIAL, _SIDECAR, _LOCK)]


def waiting_rows(path: Path) -> int:
    """Return how many rows an output of this name has on the disk that is not whole yet."""
    try:
        state = decode(stands_beside(path)[1].read_bytes())
        return 0 if state["finished"] else int(state["rows"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0


@dataclass
class LineWriter:
    """The open output of `atomic_lines`."""

    path: Path
    """The file the rows are for."""
    identity: str
    """Fingerprint of all that decides the rows, but for what the input holds."""
    input_digest: str = ""
    """What identifies the answered rows of the input, as the last `commit` was told."""
    rows: int = 0
    """Rows on the disk; a resumed caller skips this many rows of its input."""
    offset: int = 0
    """Bytes on the disk, header included."""
    _placed: bool = False

    @property
    def partial(self) -> Path:
        """Where the rows stand until they are complete."""
        return self.path.with_name(self.path.name + _PARTIAL)

    @property
    def _sidecar(self) -> Path:
        return self.path.with_name(self.path.name + _SIDECAR)

    def commit(self, lines: bytes, rows: int, input_digest: str = "") -> None:
        """Add whole lines; when this returns, they survive a power cut.

        Args:
            lines: The encoded lines, each with its line end.
            rows: How many rows of the input they answer.
            input_digest: What identifies the input's rows up to them.

        Raises:
            RunError: The disk is full, failing or not writable; what was committed before still counts.
        """
        with explained(self.path, len(lines)):
            write_synced(self.partial, [lines], offset=self.offset)
        self.input_digest = input_digest
        self._record(self.rows + rows, self.offset + len(lines))

    def _record(self, rows: int, offset: int, *, finished: bool = False) -> None:
        state = {
            "identity": self.identity,
            "input": self.input_digest,
            "rows": rows,
            "bytes": offset,
            "finished": finished,
        }
        write_atomic(self._sidecar, json.dumps(state).encode())
        self.rows, self.offset = rows, offset

    def _start(self, header: bytes) -> None:
        # The old sidecar goes first: it must never describe the bytes of the new partial file.
        remove(self._sidecar)
        with explained(self.path, len(header)):
            sync_directory(self.path.parent)
            write_synced(self.partial, [header])
        self._record(0, len(header))

    def _resume(self) -> bool:
        if not self._sidecar.exists():
            return False
        with explained(self._sidecar):
            data = self._sidecar.read_bytes()
        try:
            state = decode(data)
            identity, rows, offset = state["identity"], int(state["rows"]), int(state["bytes"])
            self.input_digest = str(state["input"])
        except (ValueError, LookupError, TypeError):
            _log.warning("%s: damaged; starting anew", self._sidecar)
            return False
        if identity != self.identity:
            raise RunError(
                "the input's name, the classifier or an option has changed since these rows were written",
                where=str(self.partial),
                mend="Leave out --resume to start anew",
            )
        self.rows, self.offset = rows, offset
        with explained(self.path, 0):
            if self.partial.exists() and self.partial.stat().st_size >= self.offset:
                write_synced(self.partial, [], offset=self.offset)
                return True
            # Killed between the last rename and the removal of the sidecar.
            placed = self.path.exists() and self.path.stat().st_size == self.offset
        self._placed = placed and state.get("finished") is True
        if not self._placed:
            _log.warning("%s: shorter than what was committed to it; starting anew", self.partial)
        return self._placed

    def _finish(self) -> None:
        if not self._placed:
            self._record(self.rows, self.offset, finished=True)
            with explained(self.path, 0):
                rename_synced(self.partial, self.path)
        remove(self._sidecar)


@contextmanager
def atomic_lines(path: Path, identity: str, *, header: bytes = b"", resume: bool = False) -> Iterator[LineWriter]:
    """Write a file of rows chunk by chunk; it appears under its name when the block ends without an error.

    Until then the rows stand in `<path>.partial`, and an interrupted block leaves them there for `resume`.
    Never resuming gives the same bytes as resuming after any kill.

    Args:
        path: The file to write; its directory must exist.
        identity: `fingerprint` of all that decides the rows.
        header: Bytes before the first row, such as the CSV header; written once.
        resume: Go on with an interrupted file; without one, start anew.

    Yields:
        The writer; skip its `rows` first rows of the input, then `commit` the rest.

    Raises:
        RunError: Another process writes this file, what is to be resumed had another identity, or the disk fails.
    """
    lock = path.with_name(path.name + _LOCK)
    with locked(lock, path):
        writer = LineWriter(path, identity)
        if not (resume and writer._resume()):
            writer.rows, writer.offset = 0, 0
            writer._start(header)
        yield writer
        writer._finish()
        remove(lock)
