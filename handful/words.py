"""How a text is cut into words, in any script, and how long it is; imports nothing of the package."""

from __future__ import annotations

import functools
import re
import unicodedata

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese put no spaces between words."""


@functools.cache
def combining_marks() -> str:
    """Return every combining mark of the basic plane, to be put into a character class: words hold them too."""
    return "".join(chr(code) for code in range(0x300, 0xFFFF) if unicodedata.category(chr(code)).startswith("M"))


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """Return what matches a word: a run of letters, digits and their marks, with apostrophes inside it.

    Of scripts without spaces it matches a character, the nearest thing to a word there; see `is_character`.
    """
    letter, mark = rf"[^\W_{_UNSPACED}]", f"[{combining_marks()}]"
    character = rf"(?!{mark})[{_UNSPACED}]{mark}*"
    part = f"{letter}+(?:{mark}+{letter}*)*"
    return re.compile(rf"{character}|{part}(?:['\u2019]{part})*")


@functools.cache
def _character_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


def is_character(word: str) -> bool:
    """Return whether a word is a character of a script without spaces."""
    return _character_pattern().match(word) is not None


def count_words(text: str) -> int:
    """Return how many words there are between spaces, and characters of scripts without spaces.

    >>> count_words("so it is"), count_words("今天天气 ok")
    (3, 5)
    """
    spaced = _character_pattern().sub(" ", text)
    return len(spaced.split()) + len(_character_pattern().findall(text))


def count_bytes(text: str) -> int:
    r"""Return a text's length in UTF-8, which goes by tokens in any script better than characters do.

    A run of white space counts as the one space that is read of it; see `prompts.one_line`.

    >>> count_bytes("if x:\n        y"), count_bytes("été")
    (7, 5)
    """
    return len(" ".join(text.split()).encode("utf-8", "surrogatepass"))
