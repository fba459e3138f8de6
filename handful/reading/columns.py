"""Which columns of a file to read, and what to say when one is missing or a value is no text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from handful.errors import DataError
from handful.reading.wording import did_you_mean, listing, short

_NAME_IT = "Rename the column, or say which one to read: --text-column, or in a task file text_column and label_column."


def check_columns(found: Sequence[str], columns: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """Return the columns to read: those asked for, or all that were found.

    Raises:
        DataError: If one is missing or stands twice.
    """
    wanted = tuple(found if columns is None else columns)
    for column in wanted:
        if column not in found:
            raise DataError(
                f"there is no column {column!r}; the columns are {listing(found)}",
                where=where,
                mend=f"{did_you_mean(column, found)} {_NAME_IT}".strip(),
            )
        if list(found).count(column) > 1:
            raise DataError(f"two columns are called {column!r}", where=where, mend="Rename one of them.")
    return wanted


def as_string(value: object, column: str, where: str, *, id_column: str | None) -> str:
    """Return a value of a typed file (JSONL, Parquet) if it is a string, or a whole number in the id column.

    Raises:
        DataError: For any other value; how a number was written is not known any more, so it is not guessed.
    """
    if isinstance(value, str):
        return value
    if column == id_column and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        raise DataError(f"{column!r} is null", where=where, mend="Fill it in or delete the row.")
    if isinstance(value, bool | int | float):
        written = json.dumps(value)
        mend = f'Write it as a text, in quotes: "{written}".'
        raise DataError(f"{column!r} is {written}, not a text", where=where, mend=mend)
    message = f"{column!r} is {short(value)} ({type(value).__name__}), not a text"
    raise DataError(message, where=where, mend="Write it as a text, in quotes.")
