"""Strangers' text made fit to be shown, and numbers made fit to be read."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

NAME_CHARS = 60
"""Labels and names are cut behind so many characters."""
TEXT_CHARS = 400
"""Texts are cut behind so many characters."""
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"
"""Persian words and many emoji are spelt with these."""
_BLANKS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters by their category that nobody sees."""


def visible(text: str) -> str:
    r"""Return a text with control, bidirectional and invisible characters spelt out.

    >>> visible("a\u202eb\nc")
    'a⟨U+202E⟩b↵ c'
    """
    if text.isprintable() and not any(blank in text for blank in _BLANKS):
        return text
    return "".join(map(_visible_character, text.replace("\r\n", "\n")))


def _visible_character(character: str) -> str:
    if character == "\n":
        return "↵ "
    if character == "\t":
        return "⇥ "
    if character in _JOINERS:
        return character
    number = ord(character)
    is_noncharacter = number & 0xFFFE == 0xFFFE or 0xFDD0 <= number <= 0xFDEF
    if is_noncharacter or character in _BLANKS or unicodedata.category(character) in _HIDDEN:
        return f"⟨U+{number:04X}⟩"
    return character


def cut(text: str, limit: int = TEXT_CHARS) -> str:
    """Return a text, or its beginning and how long it is.

    >>> cut("abcdef", 3)
    'abc… (6 characters)'
    """
    return text if len(text) <= limit else f"{text[:limit].rstrip()}… ({len(text):,} characters)"


def brief(text: str, limit: int) -> str:
    """Return a text as one visible word or two for a plot: cut to `limit` characters without saying more."""
    shown = visible(text[: 2 * limit])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def quoted(name: str) -> str:
    """Return a name as it stands in a sentence."""
    return f"“{cut(name, NAME_CHARS)}”"


def share(value: float) -> str:
    """Return a share of 1 with three digits.

    >>> share(0.38249999999999995)  # means of the same counts differ in their last bits
    '0.383'
    """
    return f"{round(value, 9):.3f}"


def number(value: float | None, digits: int) -> str:
    """Return a number with so many digits, a dash for none."""
    return "\u2013" if value is None else f"{value:,.{digits}f}"


def percent(value: float) -> str:
    """Return a share of 1 in whole per cent."""
    return f"{100 * value:.0f}\u00a0%"


def points(value: float) -> str:
    """Return a difference of two shares in points, with its sign."""
    # As `shown_mean`: what was added in another order is the same number.
    return signed(round(100 * value, 9), 1)


def signed(value: float, digits: int) -> str:
    """Return a number with its sign."""
    # Adding zero takes the sign from what is rounded to it.
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "\u2212")


def plural(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> plural(1, "text"), plural(2, "text")
    ('1 text', '2 texts')
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def arithmetic(identity: Mapping[str, Any]) -> str:
    """Return a sentence on the float types that were asked for (`Engine.arithmetic`), empty if none were.

    >>> arithmetic({"model": "m", "precision": "bfloat16"})
    ' Computed with precision bfloat16.'
    """
    asked = [f"{name} {visible(str(identity[name]))}" for name in ("dtype", "precision") if name in identity]
    asked += ["a base model in 4 bits"] * bool(identity.get("load_in_4bit"))
    return f" Computed with {', '.join(asked)}." if asked else ""
