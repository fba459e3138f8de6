"""Rows of Parquet files, by pyarrow when it is installed (`handful[parquet]`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from handful.errors import DataError
from handful.reading.columns import as_string, check_columns

BATCH_ROWS = 32
"""So few that a batch of the longest texts let through fits in memory."""


def parquet_rows(
    stream: BinaryIO, name: str, columns: Sequence[str] | None, id_column: str | None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield `(row number from 1, {column: value})`, reading a batch of rows at a time.

    Raises:
        DataError: If pyarrow is missing, the file is no Parquet file, or a value is no string.
    """
    file = _open(stream, name)
    wanted = check_columns(file.schema_arrow.names, columns, name)
    number = 0
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(wanted)):
            values = [batch.column(column).to_pylist() for column in wanted]
            for row in zip(*values, strict=True):
                number += 1
                pairs = zip(wanted, row, strict=True)
                where = f"{name}:{number}"
                yield number, {key: as_string(value, key, where, id_column=id_column) for key, value in pairs}
    except (ValueError, OSError, ArithmeticError, LookupError) as error:
        message = f"the Parquet file is damaged, or holds values that Python has no type for: {error}"
        raise DataError(message, where=f"{name}:{number + 1}", mend="Save the columns as strings.") from None


def _open(stream: BinaryIO, name: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        mend = "Install it with: pip install 'handful[parquet]'."
        raise DataError("reading Parquet needs the package pyarrow", where=name, mend=mend) from None
    if not stream.seekable():
        raise DataError("Parquet cannot be read from a pipe", where=name, mend="Name the file instead.")
    try:
        return parquet.ParquetFile(stream)
    except (ValueError, OSError) as error:
        raise DataError(f"the file is not a Parquet file: {error}", where=name) from None
