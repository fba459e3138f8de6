"""Rows of JSONL files: one JSON object per line, whose values have to be strings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from handful.errors import DataError
from handful.reading.columns import as_string, check_columns


def json_rows(
    lines: Iterator[str], name: str, columns: Sequence[str] | None, id_column: str | None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield `(line number, {key: value})` of each line that is not blank.

    Raises:
        DataError: If a line is no JSON object, lacks a key, or a value that is read is no string.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        row = _object(line, where)
        wanted = check_columns(tuple(row), columns, where)
        yield number, {key: as_string(row[key], key, where, id_column=id_column) for key in wanted}


def _object(line: str, where: str) -> dict[str, Any]:
    mend = 'Write one JSON object per line, like {"text": "...", "label": "..."}.'
    try:
        value = json.loads(line.rstrip("\r\n"), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        if line.lstrip().startswith("["):
            message = "the file is a JSON list, not JSONL"
        else:
            message = f"the line is not valid JSON: {error.msg.removesuffix(' at')} at character {error.colno}"
        raise DataError(message, where=where, mend=mend) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"the line is not usable JSON: {error}", where=where, mend=mend) from None
    if not isinstance(value, dict):
        raise DataError(f"the line is a JSON {type(value).__name__}, not an object", where=where, mend=mend)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in pairs:
        if key in row:
            raise ValueError(f"the key {key!r} stands twice")
        row[key] = value
    return row
