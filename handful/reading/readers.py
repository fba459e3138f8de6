"""Files of texts: CSV, TSV, JSONL and Parquet as a stream of rows whose values are strings, exactly as written.

No types are guessed: `NA`, `null`, `0012` and `yes` stay what they are. Memory does not grow with the file.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from handful.errors import DataError
from handful.limits import MAX_BLANK_CHARS, MAX_LONG_TEXT_CHARS, MAX_TEXT_CHARS
from handful.reading.decoding import Encoding, check_text, text_lines
from handful.reading.delimited import delimited_rows
from handful.reading.jsonlines import json_rows
from handful.reading.parquet import parquet_rows
from handful.reading.wording import closest
from handful.records import Example

Format = Literal["csv", "tsv", "jsonl", "parquet"]
Source = str | Path | BinaryIO
Row = tuple[int, dict[str, str]]

SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}


class Located(NamedTuple):
    """An example and the place it was read from."""

    example: Example
    where: str


def read_rows(
    source: Source,
    *,
    format: Format | None = None,
    columns: Sequence[str] | None = None,
    header: Sequence[str] | None = None,
    id_column: str | None = None,
    encoding: Encoding = "utf-8",
) -> Iterator[Row]:
    """Yield `(line number, {column: value})` row by row; line numbers count from 1, in Parquet they are row numbers.

    Args:
        source: A path, `"-"` for standard input, or a stream of bytes.
        format: How the file is written; by default from the suffix, and without one from the first line.
        columns: The columns to read; all of them if None.
        header: Names for the columns of a CSV or TSV file that has no header line.
        id_column: A column that may hold whole numbers in JSONL and Parquet; they become their decimal text.
        encoding: How the bytes of a text file are read.

    Raises:
        DataError: If the file, a column or a row is not usable; says which line and how to mend it.
    """
    with opened(source) as (stream, name):
        chosen = format or _format_of(name, stream is not source and name != "stdin")
        if chosen == "parquet":
            yield from parquet_rows(stream, name, columns, id_column)
            return
        lines = text_lines(stream, name, encoding=encoding)
        first, lines = _peek(lines, name)
        chosen = chosen or _sniff(first)
        if chosen == "jsonl":
            yield from json_rows(lines, name, columns, id_column)
        else:
            yield from delimited_rows(lines, name, "\t" if chosen == "tsv" else ",", columns, header)


def read_examples(
    path: Source, *, text_column: str = "text", label_column: str = "label", format: Format | None = None
) -> list[Example]:
    """Read all labelled texts of a file, in its order.

    Raises:
        DataError: If the file or a row is not usable, or there is no row.
    """
    rows = locate_examples(path, text_column=text_column, label_column=label_column, format=format)
    return [row.example for row in rows]


def locate_examples(
    path: Source, *, text_column: str = "text", label_column: str = "label", format: Format | None = None
) -> list[Located]:
    """As `read_examples`, with the file and line of each, for later errors."""
    name = source_name(path)
    found = []
    for line, row in read_rows(path, format=format, columns=(text_column, label_column)):
        where = f"{name}:{line}"
        text = check_text(row[text_column], where, limit=MAX_TEXT_CHARS)
        label = check_text(row[label_column], where, limit=MAX_TEXT_CHARS, what="label")
        found.append(Located(Example(text, label), where))
    if not found:
        raise DataError("there are no rows", where=name, mend="Add one labelled text per line.")
    return found


def iter_texts(
    source: Source,
    *,
    text_column: str = "text",
    id_column: str | None = None,
    format: Format | None = None,
    max_chars: int = MAX_LONG_TEXT_CHARS,
) -> Iterator[tuple[str, str]]:
    """Yield `(row id, text)` of each row; blank texts too, so that every row gets an answer.

    Args:
        source: A path, `"-"` for standard input, or a stream of bytes.
        text_column: The column of the text.
        id_column: The column of the row id; by default the id is the line number (in Parquet the row number).
        format: As for `read_rows`.
        max_chars: Longest text let through, in characters.

    Raises:
        DataError: If the file or a row is not usable.
    """
    name = source_name(source)
    columns = (text_column,) if id_column is None else (id_column, text_column)
    for line, row in read_rows(source, format=format, columns=columns, id_column=id_column):
        text = check_text(row[text_column], f"{name}:{line}", limit=max_chars, empty=True)
        if id_column is None:
            yield str(line), text
        else:
            yield check_text(row[id_column], f"{name}:{line}", limit=max_chars, what="id", empty=True), text


def source_name(source: Source) -> str:
    """Return what errors call the source: its path, "stdin", or the name of the stream."""
    if isinstance(source, str | Path):
        return "stdin" if str(source) == "-" else str(source)
    name = getattr(source, "name", None)
    return name.strip("<>") if isinstance(name, str) else "stream"


@contextmanager
def opened(source: Source) -> Iterator[tuple[BinaryIO, str]]:
    """Open a path, or pass a stream through, with the name errors call it.

    Raises:
        DataError: If the file is missing, is a folder, or may not be read.
    """
    name = source_name(source)
    if not isinstance(source, str | Path):
        yield source, name
        return
    if str(source) == "-":
        if sys.stdin is None:
            raise DataError("there is no standard input: it is closed", where="-", mend="Name a file.")
        yield sys.stdin.buffer, name
        return
    path = Path(source)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise DataError("there is no such file", where=name, mend=_neighbour(path)) from None
    except IsADirectoryError:
        raise DataError("this is a folder, not a file", where=name, mend="Name the file in it.") from None
    except (OSError, ValueError) as error:
        raise DataError(f"the file cannot be read: {error}", where=name) from None
    with stream:
        yield stream, name


def _neighbour(path: Path) -> str:
    try:
        names = [entry.name for entry in itertools.islice(path.parent.iterdir(), 1_000)]
    except OSError:
        return "Check the path."
    match = closest(path.name, names)
    return f"Did you mean {match!r} in the same folder?" if match else "Check the path."


def _format_of(name: str, is_path: bool) -> Format | None:
    suffix = Path(name).suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix and is_path:
        known = ", ".join(SUFFIXES)
        raise DataError(
            f"files ending in {suffix} are not read", where=name, mend=f"Save it as one of {known} (UTF-8)."
        )
    return None


def _peek(lines: Iterator[str], name: str) -> tuple[str, Iterator[str]]:
    seen, blank_chars = [], 0
    for line in lines:
        seen.append(line)
        if line.strip():
            return line, itertools.chain(seen, lines)
        blank_chars += len(line)
        if blank_chars > MAX_BLANK_CHARS:
            message = f"there is nothing but white space in the first {MAX_BLANK_CHARS:,} characters"
            raise DataError(message, where=name, mend="Delete the blank lines before the first row.")
    raise DataError("the file is empty", where=name, mend="Give it a header line and one row per text.")


def _sniff(line: str) -> Format:
    if line.lstrip().startswith(("{", "[")):
        return "jsonl"
    return "tsv" if line.count("\t") > line.count(",") else "csv"
