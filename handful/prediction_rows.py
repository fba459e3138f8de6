"""Predictions as lines of CSV, TSV and JSON; and whether a file holds such lines."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from handful.errors import DataError
from handful.limits import MAX_LINE_BYTES
from handful.reading.delimited import encode_delimited
from handful.records import Prediction
from handful.storage.files import explained
from handful.storage.jsonl import decode

OutputFormat = Literal["csv", "tsv", "jsonl"]
_BY_SUFFIX: dict[str, OutputFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_JSON_KEYS = ("id", "label", "probability", "probabilities", "cut")
_HEADER = re.compile(rb'id([,\t])label\1probability\1"?p:')
_FORMULA = re.compile(r"[\t\r]*(?![+-]\.?\d[\d.,]*(?:[eE][+-]?\d+)?%?\s*\Z)[=+\-@].", re.DOTALL)
"""What spreadsheets compute: to them -5, +1.5e3 and +3% are numbers, and a mark alone is text."""


def output_format(path: Path | None, asked: OutputFormat | None) -> OutputFormat:
    """Return how predictions are written: as asked, or by the ending of the file; JSON lines on stdout.

    Raises:
        DataError: The ending says nothing.
    """
    if asked is not None:
        return asked
    if path is None:
        return "jsonl"
    if path.suffix.lower() not in _BY_SUFFIX:
        raise DataError(
            f"predictions are not written to files ending in {path.suffix or 'nothing'}",
            where=str(path),
            mend=f"Name it {', '.join(_BY_SUFFIX)}, or pass --output-format.",
        )
    return _BY_SUFFIX[path.suffix.lower()]


def header(labels: Sequence[str], written_as: OutputFormat) -> bytes:
    """Return what stands before the first row: the names of the columns, none in JSON lines."""
    if written_as == "jsonl":
        return b""
    columns = ["id", "label", "probability", *(f"p:{label}" for label in labels), "cut"]
    return encode_delimited([columns], _DELIMITERS[written_as])


def encode_predictions(chunk: Sequence[Prediction], written_as: OutputFormat) -> bytes:
    """Return the lines of some predictions; every float reads back exactly."""
    if written_as == "jsonl":
        return "".join(json.dumps(_json_row(row), ensure_ascii=False) + "\n" for row in chunk).encode()
    return encode_delimited([_cells(row) for row in chunk], _DELIMITERS[written_as])


def holds_predictions(path: Path) -> bool:
    """Return whether a file begins as predictions do, of whatever labels; an empty one holds those of no texts.

    Raises:
        RunError: It cannot be read.
    """
    with explained(path), path.open("rb") as file:
        first = file.readline(MAX_LINE_BYTES)
    if not first or _HEADER.match(first):
        return True
    try:
        row = decode(first)
    except ValueError:
        return False
    return isinstance(row, dict) and tuple(row) == _JSON_KEYS


def first_formula(chunk: Sequence[Prediction]) -> str | None:
    """Return the first id or label that a spreadsheet would compute, instead of showing it; None if there is none."""
    values = (value for row in chunk for value in (row.text_id, row.label))
    return next((value for value in values if _FORMULA.match(value)), None)


def _json_row(row: Prediction) -> dict[str, object]:
    values = (row.text_id, row.label, row.probabilities[row.label], dict(row.probabilities), row.cut)
    return dict(zip(_JSON_KEYS, values, strict=True))


def _cells(row: Prediction) -> list[str]:
    numbers = [repr(row.probabilities[row.label]), *map(repr, row.probabilities.values())]
    return [row.text_id, row.label, *numbers, "true" if row.cut else "false"]
