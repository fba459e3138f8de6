"""Files that say whether they are whole: the rows of a step end with their checksum, a checkpoint begins with it."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

from handful.storage import files
from handful.storage.jsonl import decode, encode

_log = logging.getLogger(__name__)


def write_step(path: Path, lines: list[bytes]) -> None:
    """Write the encoded rows of a step and their checksum.

    Raises:
        RunError: The disk is full, failing or not writable.
    """
    body = b"".join(lines)
    files.write_atomic(path, body, _trailer(body))


def read_step(path: Path) -> list[dict[str, Any]] | None:
    """Return the rows of a step; None if it is not there, or damaged, which is set aside.

    Raises:
        RunError: It cannot be read, or not be set aside.
    """
    rows = verified_rows(path)
    if rows is None and path.exists():
        set_aside(path, "damaged")
    return rows


def verified_rows(path: Path) -> list[dict[str, Any]] | None:
    """Return the rows of a step as `read_step` does, but leave a damaged one where it is: it needs no lock.

    Raises:
        RunError: It cannot be read.
    """
    if not path.exists():
        return None
    with files.explained(path):
        data = files.read_bytes(path)
    body = data[: data.rfind(b"\n", 0, -1) + 1]
    try:
        rows = [decode(line) for line in body.split(b"\n")[:-1]]
    except ValueError:
        return None
    whole = data == body + _trailer(body) and all(isinstance(row, dict) for row in rows)
    return rows if whole else None


def _trailer(body: bytes) -> bytes:
    return encode({"sha256": hashlib.sha256(body).hexdigest(), "rows": body.count(b"\n")}) + b"\n"


def write_checkpoint(path: Path, data: bytes) -> None:
    """Write a state behind its checksum; raises as `write_step`."""
    files.write_atomic(path, hashlib.sha256(data).digest(), data)


def read_checkpoint(path: Path) -> bytes | None:
    """Return the state, or None if it is damaged; raises as `read_step`."""
    with files.explained(path):
        sealed = files.read_bytes(path)
    return sealed[32:] if hashlib.sha256(sealed[32:]).digest() == sealed[:32] else None


def set_aside(path: Path, why: str) -> None:
    """Rename what is damaged to `<name>.damaged-<n>`, so that it is made again and nothing is lost.

    Raises:
        RunError: The disk does not let us.
    """
    ending = re.compile(re.escape(path.name) + r"\.damaged-(\d+)")
    with files.explained(path, 0):
        taken = [int(found[1]) for other in path.parent.iterdir() if (found := ending.fullmatch(other.name))]
        damaged = path.with_name(f"{path.name}.damaged-{max(taken, default=0) + 1}")
        _log.warning("%s: %s; renamed to %s and made again", path, why, damaged.name)
        files.rename_synced(path, damaged)
