"""Whether labelled texts fit a task's labels and each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from handful.errors import DataError, TaskError
from handful.limits import MAX_LABEL_CHARS
from handful.reading.labels import check_line
from handful.reading.readers import Located
from handful.reading.wording import did_you_mean, listing, short
from handful.records import Attribute, Example


def same_text(text: str) -> str:
    """Return what two texts share that count as the same: white space and case are ignored."""
    return " ".join(text.split()).casefold()


def check_known(rows: Iterable[Located], names: Sequence[str]) -> None:
    """Check that every label is one of the task's.

    Raises:
        DataError: For the first that is not, with its place.
    """
    known = frozenset(names)
    for example, where in rows:
        if example.label not in known:
            message = f"{short(example.label)} is not a label of the task ({listing(names)})"
            mend = did_you_mean(example.label, names) or "Add it under labels, or correct the row."
            raise DataError(message, where=where, mend=mend)


def drop_repeats(rows: Iterable[Located]) -> tuple[list[Located], list[str]]:
    """Return the rows with the first of each text only, and a warning if any were dropped.

    Raises:
        DataError: If the same text has two labels; names both places.
    """
    first: dict[str, Located] = {}
    repeats: list[tuple[Located, Located]] = []
    for row in rows:
        other = first.setdefault(same_text(row.example.text), row)
        if other is row:
            continue
        if other.example.label != row.example.label:
            message = (
                f"the text {short(row.example.text)} has the label {row.example.label!r} here "
                f"and {other.example.label!r} at {other.where}"
            )
            in_case = " ".join(other.example.text.split()) != " ".join(row.example.text.split())
            hint = " Upper and lower case count as the same." if in_case else ""
            raise DataError(message, where=row.where, mend=f"Keep the one that is right.{hint}")
        repeats.append((row, other))
    if not repeats:
        return list(first.values()), []
    row, other = repeats[0]
    what = "example repeats another and is" if len(repeats) == 1 else "examples repeat others and are"
    return list(first.values()), [f"{len(repeats)} {what} left out, first {row.where} (as {other.where})"]


def warnings_of_test(examples: Iterable[Example], test: Sequence[Located]) -> list[str]:
    """Return what makes test texts measure something else: that they are examples too, or have two labels."""
    known = {same_text(example.text) for example in examples}
    leaked = [row for row in test if same_text(row.example.text) in known]
    first: dict[str, Located] = {}
    pairs = [(row, first.setdefault(same_text(row.example.text), row)) for row in test]
    conflicts = [(row, other) for row, other in pairs if row.example.label != other.example.label]
    said = []
    if leaked:
        what = "test text is also an example" if len(leaked) == 1 else "test texts are also examples"
        said.append(f"{len(leaked)} {what}, first {leaked[0].where}: {short(leaked[0].example.text)}")
    if conflicts:
        row, other = conflicts[0]
        what = "test text is there" if len(conflicts) == 1 else "test texts are there"
        said.append(f"{len(conflicts)} {what} with another label, too, first {row.where} (as {other.where})")
    return said


def is_of_test(warning: str) -> bool:
    """Return whether a warning is one of `warnings_of_test`."""
    return re.match(r"\d+ test texts? (is|are) (also|there) ", warning) is not None


def attributes_from(attributes: Mapping[str, Any]) -> tuple[Attribute, ...]:
    """Return what a user gave in Python as attributes.

    Raises:
        TaskError: One has no list of values, or a name or value is no clean line.
    """
    found = []
    for name, values in attributes.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            mend = "Give {'length': ['one short sentence', 'a paragraph']}."
            raise TaskError(f"the attribute {short(name)} has no list of values", where="attributes", mend=mend)
        for line, what in ((name, "attribute"), *((value, "value") for value in values)):
            if not isinstance(line, str):
                mend = "Give names and values as strings."
                raise TaskError(f"the {what} {short(line)} is not a string", where="attributes", mend=mend)
            check_line(line, what, "attributes", MAX_LABEL_CHARS)
        found.append(Attribute(name, tuple(values)))
    return tuple(found)


def check_shots(examples: Iterable[Example], names: Sequence[str], least: int, where: str) -> None:
    """Check that each label has at least so many examples.

    Raises:
        TaskError: With the count of every label, if one has fewer.
    """
    counts = Counter(example.label for example in examples)
    few = [name for name in names if counts[name] < least]
    if few:
        listed = ", ".join(f"{short(name)} {counts[name]}" for name in names)
        message = f"each label needs at least {least} example{'s' * (least > 1)}; there are {listed}"
        raise TaskError(message, where=where, mend=f"Add examples of {listing(few)}.")
