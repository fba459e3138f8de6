"""The wording errors share: quoting a value without flooding the screen, and "did you mean"."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_BRIEFLY = reprlib.Repr()  # whole, a list that holds itself many times over is gigabytes
_BRIEFLY.maxlevel, _BRIEFLY.maxother, _BRIEFLY.maxstring = 3, 80, 80


def short(value: object, limit: int = 60) -> str:
    """Return `repr(value)` cut to about `limit` characters, on one line.

    >>> short("x" * 100, limit=5)
    "'xxxxx...'"
    """
    if isinstance(value, str):
        return repr(value[:limit] + "..." if len(value) > limit else value)
    text = _BRIEFLY.repr(value)
    return text[:limit] + "..." if len(text) > limit else text


def listing(words: Iterable[str], limit: int = 20) -> str:
    """Return the words quoted and joined by commas, at most `limit` of them.

    >>> listing(["a", "b"])
    "'a', 'b'"
    """
    quoted = [short(word, 40) for word in words]
    return ", ".join(quoted[:limit]) + (f" and {len(quoted) - limit} more" if len(quoted) > limit else "")


def closest(word: str, options: Iterable[str]) -> str | None:
    """Return the option most like the word, ignoring case and outer white space; None if none is alike."""
    folded: dict[str, str] = {}
    for option in options:
        folded.setdefault(option.strip().casefold(), option)
    matches = difflib.get_close_matches(word.strip().casefold(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return "Did you mean 'x'?" or an empty string if no option is alike."""
    match = closest(word, options)
    return f"Did you mean {match!r}?" if match is not None else ""
