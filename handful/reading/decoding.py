"""Bytes to lines of text, one line in memory at a time, and the checks every text has to pass."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator
from typing import BinaryIO, Literal

from handful.errors import DataError, HandfulError
from handful.limits import MAX_LINE_BYTES
from handful.reading.wording import short

Encoding = Literal["utf-8", "latin-1"]


def text_lines(
    stream: BinaryIO, name: str, *, encoding: Encoding = "utf-8", error: type[HandfulError] = DataError
) -> Iterator[str]:
    """Yield the lines of a file with their line ends; a leading byte order mark is dropped.

    Lines end at a newline byte only, so a row keeps carriage returns and U+2028 within its text.

    Args:
        stream: The file, opened for reading bytes.
        name: What errors call it.
        encoding: How the bytes are to be read.
        error: The class of error to raise.

    Raises:
        HandfulError: Of class `error`, for NUL bytes, bytes that are not UTF-8, or an endless line.
    """
    offset = 0
    for number in itertools.count(1):
        raw = stream.readline(MAX_LINE_BYTES + 1)
        if not raw:
            return
        where = f"{name}:{number}"
        if len(raw) > MAX_LINE_BYTES:
            raise error(f"the line is longer than {MAX_LINE_BYTES:,} bytes", where=where, mend="Is this a text file?")
        skipped = len(codecs.BOM_UTF8) if number == 1 and raw.startswith(codecs.BOM_UTF8) else 0
        try:
            line = raw[skipped:].decode(encoding)
        except UnicodeDecodeError as problem:
            raise _not_utf8(raw, offset, skipped + problem.start, where, error) from None
        if "\0" in line:
            place = offset + raw.index(b"\0")
            raise error(
                f"there is a NUL byte at byte offset {place}",
                where=where,
                mend="Save the file as plain text in UTF-8 (NUL bytes come from UTF-16 or from a damaged file).",
            )
        offset += len(raw)
        yield line


def _not_utf8(raw: bytes, offset: int, place: int, where: str, error: type[HandfulError]) -> HandfulError:
    if offset == 0 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return error("the file is in UTF-16, not UTF-8", where=where, mend="Save it as UTF-8.")
    message = f"the byte 0x{raw[place]:02x} at byte offset {offset + place} is not UTF-8"
    return error(message, where=where, mend="Save the file as UTF-8.")


def check_text(text: str, where: str, *, limit: int, what: str = "text", empty: bool = False) -> str:
    """Return the text unchanged if a model can be given it.

    Args:
        text: The text.
        where: Its file and line, for the error.
        limit: Most characters it may have.
        what: What errors call it.
        empty: Whether an empty or blank text is let through.

    Raises:
        DataError: If it is blank, too long, or holds NUL or half a surrogate pair.
    """
    if not empty and not text.strip():
        raise DataError(f"the {what} is empty", where=where, mend="Fill it in or delete the row.")
    if len(text) > limit:
        message = f"the {what} has {len(text):,} characters, more than {limit:,}"
        raise DataError(message, where=where, mend="Shorten it or leave it out.")
    if "\0" in text:
        raise DataError(f"the {what} {short(text)} holds a NUL character", where=where, mend="Remove it.")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as problem:
            message = f"the {what} holds half a surrogate pair (U+{ord(text[problem.start]):04X})"
            raise DataError(message, where=where, mend="Write the whole character in UTF-8.") from None
    return text
