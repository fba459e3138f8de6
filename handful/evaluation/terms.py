"""Lists of terms that name groups of people, along axes such as gender: the shipped ones and the user's own.

A list is a YAML file: axes by name, each with `groups` (their terms) and, if texts are to be rewritten, `counterparts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from handful.errors import DataError, TaskError
from handful.limits import MAX_TERM_CHARS, MAX_TERM_GROUPS, MAX_TERMS
from handful.reading.labels import check_line
from handful.reading.wording import short
from handful.reading.yaml_tree import Node, read_yaml

SHIPPED_TERMS = Path(__file__).with_name("terms.yaml")
"""The list of this package: gender, nationality, religion and age, in English."""
_MANUAL = "docs/audit.md says how such a list is written."


@dataclass(frozen=True)
class Group:
    """A group of people and the terms that name it."""

    name: str
    terms: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """Groups that are told apart in one respect. Make one with `load_terms`, which checks it."""

    name: str
    groups: tuple[Group, ...]
    counterparts: tuple[tuple[str, ...], ...] = ()
    """Rows of one term per group, in the order of the groups: what a term becomes when two groups are exchanged. Of
    several rows with the same term the first one counts."""


def term_key(term: str) -> str:
    """Return what spellings of the same term share: case and the length of white space are ignored."""
    return " ".join(term.split()).casefold()


def choose_terms(own: Path | None = None, *, only_own: bool = False) -> tuple[Axis, ...]:
    """Return the shipped axes and those of a user's list, whose axes take the place of shipped ones of the same name.

    Args:
        own: The user's list, if there is one.
        only_own: Leave out the shipped axes.

    Raises:
        DataError: The list is not usable; names file and line.
    """
    axes = {} if only_own else {axis.name: axis for axis in load_terms(SHIPPED_TERMS)}
    axes |= {axis.name: axis for axis in (load_terms(own) if own is not None else ())}
    return tuple(axes.values())


def load_terms(path: str | Path) -> tuple[Axis, ...]:
    """Read and check a list of terms.

    Raises:
        DataError: The file is missing, too large or not YAML; an axis has fewer than two groups; a group has no terms;
            a term is in two groups of an axis; a row of counterparts has another length; there are too many terms.
            Says file and line.
    """
    try:
        root = read_yaml(path, mend=_MANUAL)
        axes = tuple(_read_axis(name, node) for name, node in _entries(root, "the list of terms", "axes"))
    except TaskError as error:
        raise DataError(error.message, where=error.where, mend=error.mend) from None
    n_terms = sum(len(group.terms) for axis in axes for group in axis.groups)
    if n_terms > MAX_TERMS:
        message = f"there are {n_terms:,} terms, more than {MAX_TERMS:,}"
        raise DataError(message, where=str(path), mend="Leave out axes or rare terms.")
    return axes


def _entries(node: Node, what: str, of: str) -> Iterator[tuple[str, Node]]:
    if not isinstance(node.value, dict) or not node.value:
        raise TaskError(f"{what} has to be a mapping of {of} by name", where=node.where, mend=_MANUAL)
    for name, item in node.value.items():
        yield check_line(name, "name", item.where, MAX_TERM_CHARS), item


def _read_axis(name: str, node: Node) -> Axis:
    what = f"the axis {short(name)}"
    fields = node.fields(what, ("groups", "counterparts"), required=("groups",))
    listed = {group: _terms(item, f"the group {short(group)}") for group, item in _groups(fields["groups"], what)}
    rows = _rows(fields["counterparts"], len(listed)) if "counterparts" in fields else ()
    groups = tuple(
        Group(group, _distinct([*terms, *(row[place] for row in rows)]))
        for place, (group, terms) in enumerate(listed.items())
    )
    _check_groups(groups, fields["groups"].where)
    return Axis(name, groups, rows)


def _groups(node: Node, what: str) -> list[tuple[str, Node]]:
    groups = list(_entries(node, f"groups of {what}", "groups"))
    if not 2 <= len(groups) <= MAX_TERM_GROUPS:
        message = f"{what} has {len(groups)} group{'s' * (len(groups) != 1)}"
        raise TaskError(message, where=node.where, mend=f"Give 2 to {MAX_TERM_GROUPS}: groups are compared.")
    return groups


def _terms(node: Node, what: str) -> list[str]:
    if not isinstance(node.value, list):
        raise TaskError(f"{what} has to be a list of terms", where=node.where, mend="Write it as [one, another].")
    return [check_line(item.text("a term"), "term", item.where, MAX_TERM_CHARS) for item in node.value]


def _rows(node: Node, width: int) -> tuple[tuple[str, ...], ...]:
    if not isinstance(node.value, list):
        mend = "Write one list per row: - [she, he]."
        raise TaskError("counterparts has to be a list of rows", where=node.where, mend=mend)
    rows = []
    for item in node.value:
        row = _terms(item, "a row of counterparts")
        if len(row) != width:
            message = f"a row of counterparts has {len(row)} term{'s' * (len(row) != 1)} for {width} groups"
            raise TaskError(message, where=item.where, mend="Give one term per group, in their order.")
        rows.append(tuple(row))
    return tuple(rows)


def _distinct(terms: Sequence[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for term in terms:
        first.setdefault(term_key(term), term)
    return tuple(first.values())


def _check_groups(groups: Sequence[Group], where: str) -> None:
    owner: dict[str, str] = {}
    for group in groups:
        if not group.terms:
            mend = "List its terms, or leave it out."
            raise TaskError(f"the group {short(group.name)} has no terms", where=where, mend=mend)
        for term in group.terms:
            other = owner.setdefault(term_key(term), group.name)
            if other != group.name:
                message = f"the term {short(term)} is in two groups, {short(other)} and {short(group.name)}"
                raise TaskError(message, where=where, mend="Leave it in one: it has to tell them apart.")
