"""Which groups of an axis a text mentions, and the text with two of them exchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from handful.evaluation.terms import Axis, term_key
from handful.words import combining_marks


class Lexicon:
    """An axis prepared for reading texts. Terms are whole words in any case; of overlapping ones the longest counts.

    Args:
        axis: Groups, terms and counterparts.
    """

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self._groups: dict[str, str] = {}
        self._spellings: dict[str, str] = {}
        for name, term in _terms(axis):
            self._groups.setdefault(term_key(term), name)
            self._spellings.setdefault(term_key(term), term)
        self._pattern = _pattern(self._spellings.values())
        names = [group.name for group in axis.groups]
        self._tables = {
            (one, other): _table(axis, first, second)
            for first, one in enumerate(names)
            for second, other in enumerate(names)
            if first != second
        }

    def groups_in(self, text: str) -> list[str]:
        """Return the groups a text mentions, the first mentioned first."""
        found = (self._groups.get(term_key(match[0])) for match in self._pattern.finditer(text))
        return list(dict.fromkeys(name for name in found if name is not None))

    def exchange(self, text: str, one: str, other: str) -> str:
        """Return the text with every term of two groups that has a counterpart in the other exchanged for it.

        The case of the replaced words is kept: all small, all capital, first letter capital, or as in the list.

        Args:
            text: The text.
            one: Name of a group of the axis.
            other: Name of another.
        """
        # No term is in two groups, so the two directions do not meet.
        table = {**self._tables[one, other], **self._tables[other, one]}

        def exchanged(match: re.Match[str]) -> str:
            key = term_key(match[0])
            return _in_case_of(match[0], self._spellings[key], table[key]) if key in table else match[0]

        return self._pattern.sub(exchanged, text)

    def exchanges(self, text: str) -> Iterator[tuple[str, str, str]]:
        """Yield `(from, to, rewritten text)` for every two groups whose exchange changes the text.

        Of two groups that are both mentioned, `from` is the one mentioned first: each pair comes once.
        """
        mentioned = self.groups_in(text)
        for place, one in enumerate(mentioned):
            for group in self.axis.groups:
                if group.name != one and group.name not in mentioned[:place]:
                    rewritten = self.exchange(text, one, group.name)
                    if rewritten != text:
                        yield one, group.name, rewritten


def _terms(axis: Axis) -> Iterator[tuple[str, str]]:
    for place, group in enumerate(axis.groups):
        yield from ((group.name, term) for term in group.terms)
        yield from ((group.name, row[place]) for row in axis.counterparts)


def _table(axis: Axis, first: int, second: int) -> Mapping[str, str]:
    table: dict[str, str] = {}
    for row in axis.counterparts:
        table.setdefault(term_key(row[first]), row[second])
    return table


def _pattern(terms: Iterable[str]) -> re.Pattern[str]:
    # A combining mark belongs to the letter before it: a word goes on behind one.
    character = rf"[\w{combining_marks()}]"
    longest_first = sorted(terms, key=lambda term: (-len(term), term))
    choices = "|".join(r"\s+".join(map(re.escape, term.split())) for term in longest_first)
    return re.compile(rf"(?<!{character})(?:{choices})(?!{character})", re.IGNORECASE)


def _in_case_of(matched: str, listed: str, replacement: str) -> str:
    if matched == listed:  # an acronym in the list is not a shout
        return replacement
    if matched.islower():
        return replacement.lower()
    if matched.isupper() and sum(map(str.isalpha, matched)) > 1:
        return replacement.upper()
    return replacement[:1].upper() + replacement[1:] if matched[:1].isupper() else replacement
