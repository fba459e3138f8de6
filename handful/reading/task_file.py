"""The task file as written: its keys, labels and rows with their lines, not yet checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handful.errors import TaskError
from handful.limits import MAX_INSTRUCTION_CHARS, MAX_LABEL_CHARS, MAX_TEXT_CHARS
from handful.reading.decoding import check_text
from handful.reading.labels import Label, LocatedLabel, check_line
from handful.reading.readers import Located, locate_examples
from handful.reading.wording import short
from handful.reading.yaml_tree import Node, read_yaml
from handful.records import Attribute, Example

_COLUMNS = ("text_column", "label_column")
_KEYS = ("name", "instruction", "text_name", "labels", "examples", "test", "unlabeled", "attributes", *_COLUMNS)


@dataclass(frozen=True)
class TaskFile:
    """What stands in a task file; texts that are not given are empty."""

    name: str
    instruction: str
    text_name: str
    labels: Sequence[LocatedLabel]
    examples: Sequence[Located]
    test: Sequence[Located] | None
    unlabeled_path: Path | None
    text_column: str
    attributes: Sequence[Attribute]
    places: Mapping[str, str]
    """File and line of each key."""


def read_task_file(path: Path) -> TaskFile:
    """Read a task file and the files of examples it names, relative to its folder.

    Raises:
        TaskError: If the file or a key is not usable; says file and line.
        DataError: If a file of examples is not usable; says file and line.
    """
    fields = read_yaml(path).fields("the task", _KEYS, required=("labels", "examples"))
    texts = {key: fields[key].text(key) for key in ("name", "instruction", "text_name", *_COLUMNS) if key in fields}
    columns = {key: texts[key] for key in _COLUMNS if key in texts}
    unlabeled = fields.get("unlabeled")
    return TaskFile(
        name=texts.get("name", path.stem),
        # A block text (|, >) ends in a newline the user did not mean.
        instruction=texts.get("instruction", "").strip(),
        text_name=texts.get("text_name", "text"),
        labels=_read_labels(fields["labels"]),
        examples=_read_rows(fields["examples"], "examples", path.parent, columns) or [],
        test=_read_rows(fields.get("test"), "test", path.parent, columns),
        unlabeled_path=None if unlabeled is None or unlabeled.is_null() else path.parent / unlabeled.text("unlabeled"),
        text_column=texts.get("text_column", "text"),
        attributes=_read_attributes(fields.get("attributes")),
        places={key: node.where for key, node in fields.items()},
    )


def _read_labels(node: Node) -> list[LocatedLabel]:
    if isinstance(node.value, list):
        return [LocatedLabel(Label(item.text("a label")), item.where) for item in node.value]
    if isinstance(node.value, dict):
        return [LocatedLabel(_read_label(name, item), item.where) for name, item in node.value.items()]
    mend = "Write labels: [one, other], or one per line with its description."
    raise TaskError("labels has to be a mapping or a list", where=node.where, mend=mend)


def _read_attributes(node: Node | None) -> list[Attribute]:
    if node is None or node.is_null():
        return []
    mend = "Write attributes: {length: [one short sentence, a paragraph], style: [formal, casual]}."
    if not isinstance(node.value, dict):
        raise TaskError("attributes has to be a mapping from names to lists", where=node.where, mend=mend)
    found = []
    for name, values in node.value.items():
        if not isinstance(values.value, list) or not values.value:
            raise TaskError(f"the attribute {short(name)} has no list of values", where=values.where, mend=mend)
        check_line(name, "attribute", values.where, MAX_LABEL_CHARS)
        lines = [check_line(item.text("a value"), "value", item.where, MAX_LABEL_CHARS) for item in values.value]
        found.append(Attribute(name, tuple(lines)))
    return found


def _read_label(name: str, node: Node) -> Label:
    if node.is_null():
        return Label(name)
    if isinstance(node.value, str):
        message = f"the label {short(name)} is followed by the text {short(node.value)}"
        mend = f"Write {{verbalizer: {node.value}}} if this is the word the model should write."
        raise TaskError(message, where=node.where, mend=mend)
    fields = node.fields(f"the label {short(name)}", ("verbalizer", "description"))
    given = {key: field for key, field in fields.items() if not (field.plain and field.value == "")}
    texts = {key: field.text(key) for key, field in given.items()}
    if "verbalizer" in texts:
        check_line(texts["verbalizer"], "verbalizer", given["verbalizer"].where, MAX_LABEL_CHARS)
    # A description is prose, folded over lines as the user likes.
    return Label(name, texts.get("verbalizer", ""), " ".join(texts.get("description", "").split()))


def _read_rows(node: Node | None, what: str, folder: Path, columns: Mapping[str, str]) -> list[Located] | None:
    if node is None or node.is_null():
        return None
    if isinstance(node.value, str):
        path = folder / check_line(node.value, f"path of {what}", node.where, MAX_INSTRUCTION_CHARS)
        text_column, label_column = columns.get("text_column", "text"), columns.get("label_column", "label")
        return locate_examples(path, text_column=text_column, label_column=label_column)
    if not isinstance(node.value, list):
        mend = f"Write {what}: file.csv, or a list of {{text: ..., label: ...}}."
        raise TaskError(f"{what} has to be a path or a list", where=node.where, mend=mend)
    found = []
    for item in node.value:
        fields = item.fields("the example", ("text", "label"), required=("text", "label"))
        text = check_text(fields["text"].text("text"), fields["text"].where, limit=MAX_TEXT_CHARS)
        label = check_text(fields["label"].text("label"), fields["label"].where, limit=MAX_TEXT_CHARS, what="label")
        found.append(Located(Example(text, label), item.where))
    return found
