"""A YAML file as a tree of strings that know their line: nothing becomes a number, a date, a bool or null."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from handful.errors import DataError, TaskError
from handful.limits import MAX_YAML_BYTES
from handful.reading.decoding import text_lines
from handful.reading.readers import opened
from handful.reading.wording import did_you_mean, listing, short

_QUOTING = "Check the indentation, and quote values that hold ': ' or ' #' or start with one of [ { & * ! | > % @ `."


@dataclass(frozen=True)
class Node:
    """One value of the file: a string, a list of nodes, or a mapping to nodes."""

    value: str | list[Node] | dict[str, Node]
    where: str
    """File and line; for a value of a mapping the line of its key."""
    plain: bool = False
    """Whether it is a string without quotes."""

    def is_null(self) -> bool:
        """Return whether nothing stands here, or an unquoted null."""
        return self.plain and self.value in ("", "~", "null", "Null", "NULL")

    def text(self, what: str) -> str:
        """Return the string, or raise TaskError if this is a list or mapping."""
        if isinstance(self.value, str):
            return self.value
        kind = "list" if isinstance(self.value, list) else "mapping"
        raise TaskError(f"{what} is a {kind}, not a text", where=self.where, mend="Put the text in quotes.")

    def fields(self, what: str, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, Node]:
        """Return the mapping of a fixed set of keys.

        Raises:
            TaskError: If this is no mapping, has an unknown key, or lacks a required one.
        """
        if not isinstance(self.value, dict):
            message = f"{what} has to be a mapping with the keys {listing(known)}"
            raise TaskError(message, where=self.where, mend=f"Write it as {known[0]}: ...")
        for key, node in self.value.items():
            if key not in known:
                mend = did_you_mean(key, known) or f"The keys are {listing(known)}."
                raise TaskError(f"{what} has an unknown key {short(key)}", where=node.where, mend=mend)
        for key in required:
            if key not in self.value:
                raise TaskError(f"{what} has no key {key!r}", where=self.where, mend=f"Add {key}: ...")
        return self.value


class NoAliases(yaml.parser.Parser, yaml.composer.Composer):
    """Refuses anchors and aliases: no file of ours needs any, and a few lines of them expand to gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        """Compose a node as PyYAML does, unless it has an anchor."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            problem = "anchors and aliases (& and *) are not supported"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
        return node


class _Loader(NoAliases, yaml.BaseLoader):
    """Everything is a string."""


def read_yaml(path: str | Path, *, mend: str | None = None) -> Node:
    """Read a YAML file of one document.

    Args:
        path: The file.
        mend: What to say of an empty or too large file that is not a task.

    Raises:
        TaskError: If it is missing, too large, not UTF-8, not YAML, has a key twice, or uses anchors.
    """
    name = str(path)
    text = _read_text(path, name, mend)
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            raise TaskError("the file is empty", where=name, mend=mend or "See the documentation for a task file.")
        return _convert(root, name)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        context = f" ({error.context})" if error.context else ""
        raise TaskError(f"this is not valid YAML: {error.problem}{context}", where=where, mend=_QUOTING) from None
    except yaml.reader.ReaderError as error:
        where = f"{name}:{text.count(chr(10), 0, error.position) + 1}"
        message = f"the character U+{ord(text[error.position]):04X} may not stand in YAML"
        raise TaskError(message, where=where, mend="Delete it.") from None
    except (ValueError, OverflowError) as error:  # PyYAML lets those of chr() pass: "\UFFFFFFFF"
        raise TaskError(f"this is not valid YAML: {error}", where=name, mend=_QUOTING) from None
    except RecursionError:
        raise TaskError("the lists or mappings are nested too deeply", where=name, mend=_QUOTING) from None


def _read_text(path: str | Path, name: str, mend: str | None) -> str:
    try:
        with opened(path) as (stream, _):
            data = stream.read(MAX_YAML_BYTES + 1)
    except DataError as error:
        raise TaskError(error.message, where=error.where, mend=error.mend) from None
    if len(data) > MAX_YAML_BYTES:
        message = f"the file is larger than {MAX_YAML_BYTES:,} bytes"
        raise TaskError(message, where=name, mend=mend or "Move the examples to a CSV file and name it under examples.")
    return "".join(text_lines(io.BytesIO(data), name, error=TaskError))


def _convert(node: yaml.Node, name: str, line: int | None = None) -> Node:
    where = f"{name}:{(node.start_mark.line if line is None else line) + 1}"
    if isinstance(node, yaml.ScalarNode):
        return Node(node.value, where, plain=node.style is None)
    if isinstance(node, yaml.SequenceNode):
        return Node([_convert(item, name) for item in node.value], where)
    fields: dict[str, Node] = {}
    for key, value in node.value:
        place = f"{name}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise TaskError("a key has to be a text", where=place, mend=_QUOTING)
        if key.value in fields:
            message = f"the key {short(key.value)} stands twice (first at {fields[key.value].where})"
            raise TaskError(message, where=place, mend="Delete one.")
        fields[key.value] = _convert(value, name, key.start_mark.line)
    return Node(fields, where)
