"""A page as data: what it says, without how it looks. `render.py` makes the HTML.

Every string here may come from a user's file: it is text, never markup. The one exception is `Figure.svg`, which is
`Markup`, so that a plain string put there by mistake is escaped too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from markupsafe import Markup

Tone = Literal["plain", "good", "bad"]


@dataclass(frozen=True)
class Column:
    """One column of a table: names on the left, numbers to the right, texts with room to break."""

    title: str
    kind: Literal["name", "number", "text"] = "number"


@dataclass(frozen=True)
class Table:
    """Rows of text under titles."""

    block: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    marked: frozenset[int] = frozenset()
    """Rows that stand out."""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a row has another number of cells than there are columns")


@dataclass(frozen=True)
class Figure:
    """A drawing, with the numbers it is made from."""

    block: ClassVar[str] = "figure"
    svg: Markup
    table: Table
    caption: str = ""


@dataclass(frozen=True)
class Figures:
    """Drawings side by side, where there is room."""

    block: ClassVar[str] = "figures"
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Paragraph:
    """Some sentences; a warning stands out."""

    block: ClassVar[str] = "paragraph"
    text: str
    warning: bool = False


@dataclass(frozen=True)
class Sentences:
    """A list of sentences."""

    block: ClassVar[str] = "sentences"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Chip:
    """A word or two about a text, such as its label."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class TextItem:
    """One text with what is said of it."""

    text: str
    chips: tuple[Chip, ...] = ()


@dataclass(frozen=True)
class TextList:
    """Texts to read."""

    block: ClassVar[str] = "texts"
    items: tuple[TextItem, ...]
    caption: str = ""


@dataclass(frozen=True)
class Fold:
    """Blocks that are shown when asked for, and in print."""

    block: ClassVar[str] = "fold"
    title: str
    blocks: tuple[Block, ...]


Block = Table | Figure | Figures | Paragraph | Sentences | TextList | Fold


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    intro: str
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What the page comes to, first of all."""

    headline: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    verdict: Verdict
    sections: tuple[Section, ...]


def table(
    first: str, others: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", marked: Iterable[int] = ()
) -> Table:
    """Return the usual table: a column of names, then columns of numbers."""
    columns = (Column(first, "name"), *(Column(title) for title in others))
    return Table(columns, tuple(map(tuple, rows)), caption, frozenset(marked))
