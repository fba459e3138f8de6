"""Prediction files that are written in committed chunks, survive a kill, and appear under their name when whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from handful.errors import RunError
from handful.storage.files import (
    explained,
    holder_of,
    locked,
    read_bytes,
    remove,
    rename_synced,
    temporary_name,
    write_atomic,
    write_synced,
)
from handful.storage.jsonl import decode

_PARTIAL, _SIDECAR, _LOCK = ".partial", ".partial.json", ".lock"
_HASHED_BYTES = 2**20
"""Bytes that are read at a time to hash a file."""
ANEW = "Name another file with -o, or begin anew with --force."
"""How to mend an output that cannot go on with the rows that wait for it."""


def stands_beside(path: Path) -> list[Path]:
    """Return every file that may stand beside an output until it is whole."""
    partial, sidecar, lock = (path.with_name(path.name + ending) for ending in (_PARTIAL, _SIDECAR, _LOCK))
    holder = holder_of(lock)
    return [partial, sidecar, lock, holder, temporary_name(sidecar), temporary_name(holder)]


@dataclass(frozen=True)
class _State:
    """What the sidecar says of the partial file."""

    identity: str
    input: str = ""
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    """Of these bytes: since they were written, somebody may have opened the file and saved it."""


class LineWriter:
    """The open output of `atomic_lines`."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        self._state = _State(identity)
        self._hash = hashlib.sha256()
        self._placed = False

    @property
    def rows(self) -> int:
        """Rows on the disk; the caller skips this many rows of its input."""
        return self._state.rows

    @property
    def offset(self) -> int:
        """Bytes on the disk, header included."""
        return self._state.bytes

    @property
    def input_digest(self) -> str:
        """What identifies the answered rows of the input, as the last `commit` was told."""
        return self._state.input

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
        written = self._hash.copy()
        written.update(lines)
        with explained(self.path, len(lines)):
            if self._placed:  # the input has more rows than when this was whole
                rename_synced(self.path, self.partial)
                self._placed = False
            write_synced(self.partial, [lines], offset=self.offset)
        self._record(
            replace(
                self._state,
                input=input_digest,
                rows=self.rows + rows,
                bytes=self.offset + len(lines),
                sha256=written.hexdigest(),
            )
        )
        self._hash = written

    def _record(self, state: _State) -> None:
        write_atomic(self._sidecar, json.dumps(asdict(state)).encode())
        self._state = state

    def _begin(self, header: bytes) -> None:
        # The sidecar comes first: a kill before the header is there leaves one that says no row is answered.
        self._hash = hashlib.sha256(header)
        self._record(_State(self._state.identity, bytes=len(header), sha256=self._hash.hexdigest()))
        with explained(self.path, len(header)):
            write_synced(self.partial, [header])

    def _go_on(self) -> bool:
        """Take up the rows that an interrupted writer left; False where there are none."""
        state, waits = self._stored(), self.partial.exists()
        if waits and (state is None or not self.partial.is_file()):
            raise RunError("this was not left by an unfinished prediction", where=str(self.partial), mend=ANEW)
        if state is None or not state.rows:
            return False
        if not waits:
            # Killed between the last rename and the removal of the sidecar.
            self._placed = state.identity == self._state.identity and self._is_whole(state)
            return self._placed
        if state.identity != self._state.identity:
            message = "the input's name, the classifier or an option has changed since these rows were written"
            raise RunError(message, where=str(self.partial), mend=ANEW)
        if not self._takes_up(state, self.partial):
            raise RunError("this was changed since its rows were written", where=str(self.partial), mend=ANEW)
        with explained(self.path, 0):
            write_synced(self.partial, [], offset=state.bytes)
        return True

    def _stored(self) -> _State | None:
        if not self._sidecar.exists():
            return None
        with explained(self._sidecar):
            data = read_bytes(self._sidecar)
        try:
            row = decode(data)
            texts = [str(row[key]) for key in ("identity", "input", "sha256")]
            return _State(texts[0], texts[1], int(row["rows"]), int(row["bytes"]), texts[2])
        except (ValueError, LookupError, TypeError):
            message = "this does not say how far an unfinished prediction is"
            raise RunError(message, where=str(self._sidecar), mend=ANEW) from None

    def _is_whole(self, state: _State) -> bool:
        whole = self.path.is_file() and self.path.stat().st_size == state.bytes
        return whole and self._takes_up(state, self.path)

    def _takes_up(self, state: _State, path: Path) -> bool:
        written = hashlib.sha256()
        left = state.bytes
        with explained(path), path.open("rb") as file:
            while left > 0 and (data := file.read(min(left, _HASHED_BYTES))):
                written.update(data)
                left -= len(data)
        if written.hexdigest() != state.sha256:
            return False
        self._state, self._hash = state, written
        return True

    def _finish(self) -> None:
        if not self._placed:
            with explained(self.path, 0):
                rename_synced(self.partial, self.path)
        remove(self._sidecar)


@contextmanager
def atomic_lines(path: Path, identity: str, *, header: bytes = b"", anew: bool = False) -> Iterator[LineWriter]:
    """Write a file of rows chunk by chunk; it appears under its name when the block ends without an error.

    Until then the rows stand in `<path>.partial`. An interrupted block leaves them there, and the next one of the same
    identity goes on behind them: the bytes are the same after any kill.

    Args:
        path: The file to write; its directory must exist. A file of that name is replaced.
        identity: `fingerprint` of all that decides the rows.
        header: Bytes before the first row, such as the CSV header; written once.
        anew: Begin anew, whatever rows wait.

    Yields:
        The writer; skip its `rows` first rows of the input, then `commit` the rest.

    Raises:
        RunError: Another process writes this file, the rows that wait are of another identity or were changed, a file
            that is none of ours has a name that is needed, or the disk fails.
    """
    lock = path.with_name(path.name + _LOCK)
    _check_lock(lock)
    with locked(lock, path):
        writer = LineWriter(path, identity)
        if anew or not writer._go_on():
            writer._begin(header)
        yield writer
        writer._finish()
        remove(lock)


def _check_lock(lock: Path) -> None:
    """Raise RunError where locking would empty, and later remove, a file of somebody's own."""
    holder = holder_of(lock)
    try:
        who = decode(read_bytes(holder))
        strange = None if isinstance(who, dict) and who.keys() >= {"pid", "host", "since"} else holder
    except FileNotFoundError:
        # Where the file system has no locks, a lock that a kill left has content, but then it has a holder, too.
        strange = lock if lock.exists() and lock.stat().st_size else None
    except (OSError, ValueError):
        strange = holder
    if strange is not None:
        message = "this is no lock of handful's, and its name is needed while predictions are written"
        raise RunError(message, where=str(strange), mend="Move it elsewhere, or name another output")
