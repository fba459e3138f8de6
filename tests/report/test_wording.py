from __future__ import annotations

import pytest

from handful.report.wording import brief, cut, percent, plural, points, quoted, share, signed, visible
from tests.payloads import payloads


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode 漢字 🦊", "plain, ünïcode 漢字 🦊"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("a\nb\r\nc\td\re", "a↵ b↵ c⇥ d⟨U+000D⟩e"),
        ("\x00\x1b\x7f\x9f", "⟨U+0000⟩⟨U+001B⟩⟨U+007F⟩⟨U+009F⟩"),
        ("\u200b\u2060\ufeff\u00ad", "⟨U+200B⟩⟨U+2060⟩⟨U+FEFF⟩⟨U+00AD⟩"),
        ("\u2066x\u2069\u200f\u061c", "⟨U+2066⟩x⟨U+2069⟩⟨U+200F⟩⟨U+061C⟩"),
        ("\ud83d", "⟨U+D83D⟩"),
        ("\uffff\ufdd0\U0001ffff", "⟨U+FFFF⟩⟨U+FDD0⟩⟨U+1FFFF⟩"),
        ("\u3164\u2800", "⟨U+3164⟩⟨U+2800⟩"),
        ("\ue000", "⟨U+E000⟩"),
        ("👩\u200d💻 \u0646\u0645\u06cc\u200c\u062e\u0648", "👩\u200d💻 \u0646\u0645\u06cc\u200c\u062e\u0648"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
    ],
)
def test_what_is_invisible_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_what_is_visible_can_always_be_written() -> None:
    for text in payloads():
        shown = visible(text)
        assert shown.encode()
        assert visible(shown) == shown


def test_cutting_says_the_length() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc… (4 characters)"
    assert cut("x" * 12_345, 3) == "xxx… (12,345 characters)"


def test_brief() -> None:
    assert brief("abcdef", 6) == "abcdef"
    assert brief("abcdefg", 6) == "abcde…"
    assert brief("\u202e" * 100, 12) == "⟨U+202E⟩⟨U+…"
    assert len(brief("x" * 10_000, 22)) == 22


def test_numbers() -> None:
    assert (share(0.75), percent(0.755), points(0.038), points(-0.0384)) == ("0.750", "76\u00a0%", "+3.8", "\u22123.8")
    assert (plural(1, "text"), plural(1234, "text"), plural(0, "class", "classes")) == (
        "1 text",
        "1,234 texts",
        "0 classes",
    )
    assert (signed(1.005, 1), signed(-2.5, 2)) == ("+1.0", "\u22122.50")
    assert (points(-0.0004), points(0.0)) == ("+0.0", "+0.0")
    # The same mean, added in two orders.
    assert points(0.04949999999999999) == points(0.0495) == "+5.0"
    assert quoted("a" * 70) == f"“{'a' * 60}… (70 characters)”"
