"""A commented task file, written for the user from the labels of their examples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from handful.limits import MAX_LABEL_CHARS
from handful.reading.labels import Label, LocatedLabel, check_labels, check_line
from handful.records import Example

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_SNAKE = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)+")
# handful would read these as labels, other YAML tools as values.
_VALUES = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
# All that may not stand in YAML as it is, or would end the line; quotes and backslashes too.
_ESCAPED = re.compile(r'["\\]|[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]')


def task_template(examples: Iterable[Example], examples_path: str | Path, name: str) -> str:
    """Return a task file for these examples; loading it gives back the same labels, whatever they are called.

    Args:
        examples: The labelled texts; only their labels are used, in order of first appearance.
        examples_path: Where they are, relative to the folder the task file will be in.
        name: The name of the task.

    Raises:
        TaskError: If the name or a label cannot be used, or there are fewer than two labels.
    """
    check_line(name, "name", "name", MAX_LABEL_CHARS)
    counts = Counter(example.label for example in examples)
    check_labels([LocatedLabel(Label(label), str(examples_path)) for label in counts], str(examples_path))
    spoken = {label: f" {{verbalizer: {quoted(own)}}}" for label, own in _spoken(list(counts)).items()}
    lines = [
        "# A task for handful. Every value is read as text: yes, no, null and 1.0 are labels like any other.",
        f"name: {quoted(name)}",
        "# What the model is asked to do with each text:",
        "instruction: Classify the text as one of the labels.",
        "# What one text is; the model is asked to write more of them, so be precise (support ticket, movie review):",
        "text_name: text",
        "# Each label may have a verbalizer (the word the model reads and writes for it) and a description, like",
        "#   billing: {verbalizer: Billing, description: charges and refunds}",
        "labels:",
        *(f"  {quoted(label)}:{spoken.get(label, '')}  # examples: {count}" for label, count in counts.items()),
        "# Paths are relative to this file: CSV, TSV, JSONL or Parquet with the columns text and label.",
        f"examples: {quoted(str(examples_path))}",
        "# Further columns and files, all optional:",
        "# text_column: text",
        "# label_column: label",
        "# test: test.csv",
    ]
    return "\n".join(lines) + "\n"


def _spoken(labels: Sequence[str]) -> dict[str, str]:
    """Return how labels of words with underscores between them are spoken, which takes fewer tokens."""
    spoken = {label: label.replace("_", " ") if _SNAKE.fullmatch(label) else label for label in labels}
    taken = Counter(own.casefold() for own in spoken.values())
    return {label: own for label, own in spoken.items() if own != label and taken[own.casefold()] == 1}


def quoted(value: str) -> str:
    """Return the value as YAML reads it back, in double quotes unless it is a plain word."""
    if _PLAIN.fullmatch(value) and value.casefold() not in _VALUES:
        return value
    return '"' + _ESCAPED.sub(lambda match: _escape(match[0]), value) + '"'


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
