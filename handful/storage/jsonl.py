"""JSON as handful writes it: exact floats, no NaN, any string Python can hold, one object per line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from handful.errors import RunError
from handful.storage.files import explained, read_bytes

_MOST_NESTED = 100
"""Levels of lists and mappings; handful writes a few. Python could still read more, but neither copy nor show them."""


def fingerprint(value: object) -> str:
    """Return 16 hex digits that name a JSON-like value, independent of the order of its keys.

    Dataclasses count as their fields, tuples as lists.

    Raises:
        ValueError: The value holds NaN or infinity.
        TypeError: The value is not JSON-like.
    """
    return hashlib.sha256(encode(value, sort_keys=True)).hexdigest()[:16]


def encode(value: object, *, sort_keys: bool = False, indent: int | None = None) -> bytes:
    """Return a value as JSON in UTF-8.

    Raises:
        ValueError: The value holds NaN or infinity.
        TypeError: The value is not JSON-like.
    """
    text = json.dumps(
        value, ensure_ascii=False, allow_nan=False, sort_keys=sort_keys, indent=indent, default=_plain_fields
    )
    # Only lone surrogates cannot be encoded, and Python's escape of them is the JSON escape: \ud83d.
    # A high one followed by a low one is read back as the one character they stand for.
    return text.encode("utf-8", "backslashreplace")


def _plain_fields(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def encode_lines(rows: Iterable[Mapping[str, Any]], name: str) -> list[bytes]:
    """Return rows as JSON lines; the errors of `encode` say which row of `name` it was."""
    lines = []
    for number, row in enumerate(rows, start=1):
        try:
            lines.append(encode(row) + b"\n")
        except (TypeError, ValueError) as error:
            error.add_note(f"in row {number} of {name}")
            raise
    return lines


def decode(data: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is none, or nested more deeply than anything handful writes.
    """
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(_MOST_NESTED):
        # By exact type: JSON has no others, and rows of many probabilities are read by the thousand.
        level = [part for whole in level if type(whole) in (dict, list) for part in _parts(whole)]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _parts(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read a published JSON lines file; it needs no lock, since such a file is replaced as a whole.

    Raises:
        RunError: The file is missing or unreadable, or a line is not a JSON object.
    """
    with explained(path):
        lines = read_bytes(path).split(b"\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = decode(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise RunError("not a JSON object", where=f"{path}:{number}", mend="Correct or delete this line")
        rows.append(row)
    return rows


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a published JSON file; None if it is not there.

    Raises:
        RunError: It is unreadable, or not a JSON object.
    """
    if not path.is_file():
        return None
    with explained(path):
        data = read_bytes(path)
    try:
        value = decode(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        mend = "Delete it and give the run's command again; it is written anew."
        raise RunError("damaged", where=str(path), mend=mend)
    return value
