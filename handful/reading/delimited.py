"""Rows of CSV and TSV files, with the line each starts on, and what is wrong with those that are broken; and back."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Sequence

from handful.errors import DataError
from handful.limits import MAX_LONG_TEXT_CHARS
from handful.reading.columns import check_columns
from handful.reading.wording import closest, listing

Record = tuple[int, list[str]]


def delimited_rows(
    lines: Iterator[str], name: str, delimiter: str, columns: Sequence[str] | None, header: Sequence[str] | None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield `(line number, {column: value})`; quoted fields as Excel and pandas write them.

    Blank lines are skipped; where there is one column, those before another row are empty cells, as Excel writes them.

    Args:
        lines: The lines with their line ends.
        name: What errors call the file.
        delimiter: What separates the fields.
        columns: The columns to read; all if None.
        header: The names of the columns if the first line does not hold them.

    Raises:
        DataError: For a missing header or column, a row of another length, or broken quoting.
    """
    records = _records(lines, name, delimiter)
    if header is None:
        line, header = next((one for one in records if one[1]), (1, []))
        _check_header(header, columns, records, f"{name}:{line}", delimiter)
    wanted = check_columns(header, columns, name)
    picks = [(column, list(header).index(column)) for column in wanted]
    width, blanks = len(header), 0
    for line, record in records:
        if not record:
            blanks += width == 1
            continue
        yield from ((line - ago, {column: "" for column, _ in picks}) for ago in range(blanks, 0, -1))
        blanks = 0
        if len(record) != width:
            raise _ragged(len(record), width, f"{name}:{line}", delimiter)
        yield line, {column: record[place] for column, place in picks}


def _records(lines: Iterator[str], name: str, delimiter: str) -> Iterator[Record]:
    # The limit is one number for the whole process: only ever raise it, another library may rely on it.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LONG_TEXT_CHARS))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _broken(str(error), f"{name}:{start}") from None
        yield start, record


def _broken(problem: str, where: str) -> DataError:
    quotes = 'Close the quote, and write a quote within a quoted text twice: "".'
    if "unexpected end" in problem:
        return DataError("a quoted text starts in this row and is never closed", where=where, mend=quotes)
    if "field larger" in problem:
        message = f"a field is longer than {MAX_LONG_TEXT_CHARS:,} characters, or its quote is never closed"
        return DataError(message, where=where, mend=quotes)
    if "new-line character" in problem:
        message = "there is a bare carriage return outside quotes"
        return DataError(message, where=where, mend="Save the file with newline or Windows line ends.")
    return DataError(f"the quotes in this row are broken ({problem})", where=where, mend=quotes)


def _ragged(found: int, width: int, where: str, delimiter: str) -> DataError:
    what = "comma" if delimiter == "," else "tab"
    message = f"the row has {found} field{'s' * (found != 1)} and the header {width}"
    return DataError(message, where=where, mend=f"Put a text that holds a {what} or a newline in double quotes.")


def _check_header(
    header: list[str], columns: Sequence[str] | None, records: Iterator[Record], where: str, delimiter: str
) -> None:
    missing = [column for column in columns or () if column not in header]
    if not missing:
        return
    named = delimiter.join(columns or ())
    found = header[0].strip() if len(header) == 1 else ""
    other = next((mark for mark in ";\t,|" if mark in found and set(missing) <= set(found.split(mark))), "")
    if other:
        what = "commas" if delimiter == "," else "tabs"
        message = f"the first line has one column, {header[0]!r}, and seems to be separated by {other!r}"
        raise DataError(message, where=where, mend=f"Separate columns by {what}, or name the file for what it is.")
    alike = any(closest(column, header) is not None for column in missing)
    if not alike and len(missing) == len(columns or ()) and _looks_like_data(header, records):
        message = f"the first line looks like a row, not a header: {listing(header)}"
        raise DataError(message, where=where, mend=f"Put a line with the names of the columns first: {named!r}.")
    check_columns(header, columns, where)


def _looks_like_data(first: list[str], records: Iterator[Record]) -> bool:
    if any(len(cell) > 40 or len(cell.split()) > 3 or not cell.strip() for cell in first):
        return True
    following = [record for _, record in itertools.islice(records, 20) if record]
    return any(cell == other for record in following for cell, other in zip(first, record, strict=False))


def encode_delimited(rows: Iterable[Sequence[object]], delimiter: str = ",") -> bytes:
    """Return rows as lines that `delimited_rows` reads back, whatever their cells hold."""
    lines = _Lines()
    # Until Python 3.13 only the characters of the line end are quoted: with "\n" a lone "\r" was not.
    csv.writer(lines, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return "".join(lines).encode()


class _Lines(list[str]):
    """What a `csv.writer` writes, a record each."""

    def write(self, record: str) -> None:
        self.append(record.removesuffix("\r\n") + "\n")
