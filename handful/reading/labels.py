"""A task's labels, and what makes a set of them usable in a prompt and in a file."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from handful.errors import TaskError
from handful.limits import MAX_INSTRUCTION_CHARS, MAX_LABEL_CHARS, MAX_LABELS
from handful.reading.wording import listing, short
from handful.records import Record

# Controls, half surrogate pairs, and the line and paragraph separators: all would break a prompt's line.
_BREAKING = {"Cc", "Cs", "Zl", "Zp"}
_BLANK = "\u115f\u1160\u3164\uffa0\u2800"
"""Letters and a symbol that are drawn as nothing: Hangul fillers and the empty Braille pattern."""


@dataclass(frozen=True)
class Label(Record):
    """One class of a task."""

    name: str
    """As it stands in the examples and in the answers, byte for byte."""
    verbalizer: str = ""
    """What the model reads and writes for it; the name if not given."""
    description: str = ""
    """One line on what belongs to it; may be empty."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "verbalizer", self.verbalizer or self.name)


LabelsLike = Iterable[str | Label] | Mapping[str, str | Mapping[str, str] | None]
"""Names or labels, or a mapping from name to verbalizer, to `{verbalizer, description}`, or to None."""


@dataclass(frozen=True)
class LocatedLabel:
    """A label and the place it was read from."""

    label: Label
    where: str


def labels_from(labels: LabelsLike) -> list[Label]:
    """Return what a user gave in Python as labels, not yet checked.

    Raises:
        TaskError: If it is not made of strings.
    """
    if isinstance(labels, str):
        raise TaskError(f"labels is one string, {labels!r}", where="labels", mend="Give a list of label names.")
    if not isinstance(labels, Mapping):
        # A set has another order in every process, and the order of the labels is that of the probabilities.
        ordered = sorted(labels, key=str) if isinstance(labels, set | frozenset) else labels
        return [_as_label(item, None) for item in ordered]
    return [_as_label(name, value) for name, value in labels.items()]


def _as_label(name: object, value: object) -> Label:
    if isinstance(name, Label) and value is None:
        return name
    fields = {"verbalizer": value} if isinstance(value, str) else {} if value is None else value
    if not isinstance(fields, Mapping) or set(fields) - {"verbalizer", "description"}:
        message = f"the label {short(name)} is given as {short(value)}"
        raise TaskError(message, where="labels", mend="Give a verbalizer, or {verbalizer: ..., description: ...}.")
    if not isinstance(name, str) or not all(isinstance(part, str) for part in fields.values()):
        message = f"the label {short(name)} is not made of strings"
        raise TaskError(message, where="labels", mend="Give names, verbalizers and descriptions as strings.")
    return Label(name, **fields)


def check_labels(labels: Sequence[LocatedLabel], where: str) -> tuple[Label, ...]:
    """Return the labels if a task can be made of them.

    Names are kept byte for byte, so two that only differ in how Unicode composes a letter are refused:
    nobody could tell them apart.

    Raises:
        TaskError: If one is empty, too long, has outer white space or control characters; if two have the same
            name or verbalizer; or if there are fewer than two, or too many.
    """
    for row in labels:
        check_line(row.label.name, "label", row.where, MAX_LABEL_CHARS)
        check_line(row.label.verbalizer, "verbalizer", row.where, MAX_LABEL_CHARS)
        if row.label.description:
            check_line(row.label.description, "description", row.where, MAX_INSTRUCTION_CHARS)
    _check_distinct(labels, "name")
    _check_distinct(labels, "verbalizer")
    names = [row.label.name for row in labels]
    if len(names) < 2:
        message = f"there is one label, {names[0]!r}" if names else "there are no labels"
        raise TaskError(message, where=where, mend="Give at least two labels to choose from.")
    if len(names) > MAX_LABELS:
        raise TaskError(f"there are {len(names):,} labels, more than {MAX_LABELS:,}", where=where)
    return tuple(row.label for row in labels)


def check_line(value: str, what: str, where: str, limit: int) -> str:
    """Return the value if it is one clean line: not empty, no outer white space, no control characters.

    Raises:
        TaskError: If it is not.
    """
    if not _visible(value).strip():
        raise TaskError(f"the {what} is empty", where=where, mend="Fill it in, in quotes if need be.")
    if value != value.strip():
        message = f"the {what} {short(value)} has white space around it"
        raise TaskError(message, where=where, mend=f"Write it as {value.strip()!r}.")
    for char in value:
        if unicodedata.category(char) in _BREAKING:
            message = f"the {what} {short(value)} holds the control character U+{ord(char):04X}"
            raise TaskError(message, where=where, mend="Keep it to one line of visible characters.")
    if len(value) > limit:
        message = f"the {what} {short(value)} has {len(value):,} characters, more than {limit:,}"
        raise TaskError(message, where=where, mend="Shorten it.")
    return value


def _visible(value: str) -> str:
    """Return a line without what takes no room: joiners, marks of direction and other format characters."""
    return "".join(char for char in value if unicodedata.category(char) != "Cf" and char not in _BLANK)


def check_lines(value: str, what: str, where: str, limit: int) -> str:
    """Return the value if each of its lines is clean; there may be several, indented or blank.

    Raises:
        TaskError: If all are blank, one holds control characters, or the whole is too long.
    """
    filled = [line.strip() for line in value.split("\n") if line.strip()]
    for line in filled or [""]:
        check_line(line, what, where, limit)
    if len(value) > limit:
        message = f"the {what} has {len(value):,} characters, more than {limit:,}"
        raise TaskError(message, where=where, mend="Shorten it.")
    return value


def _check_distinct(labels: Sequence[LocatedLabel], field: str) -> None:
    first: dict[str, LocatedLabel] = {}
    for row in labels:
        value = getattr(row.label, field)
        other = first.setdefault(unicodedata.normalize("NFC", _visible(value)), row)
        if other is row:
            continue
        if field == "verbalizer":
            names = listing([other.label.name, row.label.name])
            message = f"the labels {names} have the same verbalizer {value!r} (first at {other.where})"
            raise TaskError(message, where=row.where, mend="Give each label a verbalizer of its own.")
        if other.label.name == value:
            message, mend = f"the label {value!r} is given twice (first at {other.where})", "Delete one."
        else:
            message = (
                f"the label {value!r} looks the same as the one at {other.where} but is written with other code points"
            )
            mend = "Write both in the same Unicode form (NFC)."
        raise TaskError(message, where=row.where, mend=mend)
