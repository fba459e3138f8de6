"""The task: what the labels are, and the examples that show them.

A task comes from a YAML file (`load_task`) or from Python (`Task.create`); both check it in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from handful.errors import TaskError
from handful.limits import MAX_INSTRUCTION_CHARS, MAX_LABEL_CHARS
from handful.reading.frames import locate_examples_from
from handful.reading.labels import Label, LabelsLike, LocatedLabel, check_labels, check_line, check_lines, labels_from
from handful.reading.readers import Located, iter_texts
from handful.reading.task_checks import (
    attributes_from,
    check_known,
    check_shots,
    drop_repeats,
    is_of_test,
    warnings_of_test,
)
from handful.reading.task_file import read_task_file
from handful.reading.task_template import task_template
from handful.reading.wording import short
from handful.records import Attribute, Example
from handful.seeding import stream

__all__ = ["Example", "Label", "Task", "load_task", "task_template"]


@dataclass(frozen=True)
class Task:
    """A classification task. Make one with `load_task` or `Task.create`, which check it."""

    name: str
    instruction: str
    """What the model is asked to do."""
    text_name: str
    """What one text is, as in "movie review"."""
    labels: tuple[Label, ...]
    examples: tuple[Example, ...]
    test: tuple[Example, ...] | None = None
    unlabeled_path: Path | None = None
    source: str = ""
    """Where the task came from, for reports."""
    text_column: str = "text"
    """The column of the text in the file at `unlabeled_path`."""
    attributes: tuple[Attribute, ...] = ()
    """What generated texts are asked to differ in, if the recipe says so."""
    warnings: tuple[str, ...] = ()
    """What the user should know, one sentence each: repeated examples, test texts among the examples."""

    @classmethod
    def create(
        cls,
        name: str,
        labels: LabelsLike | None,
        examples: Any,
        *,
        test: Any = None,
        unlabeled: str | Path | None = None,
        instruction: str | None = None,
        text_name: str = "text",
        text_column: str = "text",
        label_column: str = "label",
        attributes: Mapping[str, Sequence[str]] | None = None,
    ) -> Task:
        """Make a task in Python.

        Args:
            name: The name of the task.
            labels: Names or `Label`s, or a mapping from name to verbalizer, to `{verbalizer, description}` or to
                None. If None, the labels found in the examples, sorted.
            examples: Whatever `locate_examples_from` takes.
            test: The same, held out for measuring.
            unlabeled: A file of texts without labels.
            instruction: What the model is asked to do; a plain sentence by default.
            text_name: What one text is, as in "movie review".
            text_column: The column, or key, of the text.
            label_column: The column, or key, of the label.
            attributes: What generated texts are asked to differ in, with the values of each.

        Raises:
            TaskError: If the labels are not usable or one has no example.
            DataError: If an example or test text is not usable.
        """
        columns = {"text_column": text_column, "label_column": label_column}
        rows = locate_examples_from(examples, **columns)
        chosen = sorted({row.example.label for row in rows}) if labels is None else labels
        bare = cls(
            name=name,
            instruction=_default_instruction(text_name) if instruction is None else instruction,
            text_name=text_name,
            labels=check_labels([LocatedLabel(label, "labels") for label in labels_from(chosen)], "labels"),
            examples=(),
            unlabeled_path=None if unlabeled is None else Path(unlabeled),
            source="Python",
            text_column=text_column,
            attributes=attributes_from(attributes or {}),
        )
        tests = None if test is None else locate_examples_from(test, **columns, name="test")
        return _checked(bare, rows, tests, {})

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the labels, in the order every list of probabilities follows."""
        return tuple(label.name for label in self.labels)

    @property
    def verbalizers(self) -> dict[str, str]:
        """The verbalizer of each label name."""
        return {label.name: label.verbalizer for label in self.labels}

    def examples_of(self, label: str) -> tuple[Example, ...]:
        """Return the examples of one label; raises TaskError if there is no such label."""
        own = self._examples_by_label.get(label)
        if own is None:
            raise TaskError(f"the task has no label {short(label)}", where=self.source)
        return own

    @cached_property
    def _examples_by_label(self) -> dict[str, tuple[Example, ...]]:
        found: dict[str, list[Example]] = {label.name: [] for label in self.labels}
        for example in self.examples:
            found[example.label].append(example)
        return {label: tuple(own) for label, own in found.items()}

    def require_shots(self, least: int) -> None:
        """Raise TaskError, with all counts, if a label has fewer than `least` examples."""
        check_shots(self.examples, self.label_names, least, self.source)

    def sample(self, shots_per_label: int, seed: int, *, at_most: bool = False) -> Task:
        """Return the task with a few-shot draw of its examples, label by label.

        With `at_most` a label that has fewer gives all it has.

        The draw of a label depends on the seed, its name and its set of texts, not on the order of the file.
        A larger draw of the same seed holds the smaller one.

        Raises:
            TaskError: If `shots_per_label` is under 1, or a label has fewer distinct texts and may not.
        """
        if shots_per_label < 1:
            raise TaskError(f"shots_per_label is {shots_per_label}", mend="Draw at least 1 example per label.")
        texts: dict[str, set[str]] = {name: set() for name in self.label_names}
        for example in self.examples:
            texts[example.label].add(example.text)
        unique = [Example(text, name) for name in texts for text in texts[name]]
        check_shots(unique, self.label_names, 1 if at_most else shots_per_label, self.source)
        drawn: list[Example] = []
        for name in self.label_names:
            pool = sorted(texts[name])
            stream(seed, "sample", name).shuffle(pool)
            drawn.extend(Example(text, name) for text in pool[:shots_per_label])
        others = [warning for warning in self.warnings if not is_of_test(warning)]
        warnings = (*others, *warnings_of_test(drawn, _located(self.test or ())))
        return replace(self, examples=tuple(drawn), warnings=warnings)

    def tested_on(self, test: Sequence[Example]) -> Task:
        """Return the task with other test texts, and warnings that are of these."""
        others = [warning for warning in self.warnings if not is_of_test(warning)]
        return replace(self, test=tuple(test), warnings=(*others, *warnings_of_test(self.examples, _located(test))))

    def fingerprint(self) -> str:
        """Return a SHA-256 in hex of all that a classifier depends on: no test texts, name, source or warnings."""
        return self._fingerprint

    def test_fingerprint(self) -> str:
        """Return a SHA-256 in hex of the test texts and their labels; nothing but what is measured depends on them."""
        return self._test_fingerprint

    # Asked for with every piece of a run that is saved.
    @cached_property
    def _fingerprint(self) -> str:
        affecting = replace(self, test=None).to_dict()
        for key in ("name", "source", "warnings", "unlabeled_path", "test"):
            del affecting[key]
        return _sha256(affecting)

    @cached_property
    def _test_fingerprint(self) -> str:
        return _sha256(None if self.test is None else [example.to_row() for example in self.test])

    def to_dict(self) -> dict[str, Any]:
        """Return the task as a JSON-ready mapping."""
        return {
            "name": self.name,
            "instruction": self.instruction,
            "text_name": self.text_name,
            "labels": [label.to_row() for label in self.labels],
            "examples": [example.to_row() for example in self.examples],
            "test": None if self.test is None else [example.to_row() for example in self.test],
            "unlabeled_path": None if self.unlabeled_path is None else str(self.unlabeled_path),
            "source": self.source,
            "text_column": self.text_column,
            "attributes": [attribute.to_row() for attribute in self.attributes],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Task:
        """Rebuild the task from `to_dict`'s mapping; raises TaskError if keys are missing or unknown."""
        try:
            path, test = row["unlabeled_path"], row["test"]
            rebuilt = {
                "labels": tuple(Label.from_row(label) for label in row["labels"]),
                "examples": tuple(Example.from_row(example) for example in row["examples"]),
                "test": None if test is None else tuple(Example.from_row(example) for example in test),
                "unlabeled_path": None if path is None else Path(path),
                "attributes": tuple(Attribute.from_row(entry) for entry in row["attributes"]),
                "warnings": tuple(row["warnings"]),
            }
            return cls(**{**row, **rebuilt})
        except (KeyError, TypeError) as error:
            raise TaskError(f"this is not a saved task: {error}", mend="Was it written by another version?") from None


def _sha256(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def load_task(path: str | Path) -> Task:
    """Read and check a task file; paths in it are relative to its folder.

    Raises:
        TaskError: If the file, its keys or its labels are not usable; says file and line.
        DataError: If a file of texts it names is not usable; says file and line.
    """
    file = read_task_file(Path(path))
    bare = Task(
        name=file.name,
        instruction=file.instruction or _default_instruction(file.text_name),
        text_name=file.text_name,
        labels=check_labels(file.labels, file.places["labels"]),
        examples=(),
        unlabeled_path=file.unlabeled_path,
        source=str(path),
        text_column=file.text_column,
        attributes=tuple(file.attributes),
    )
    return _checked(bare, file.examples, file.test, file.places)


def _checked(bare: Task, rows: Sequence[Located], test: Sequence[Located] | None, places: Mapping[str, str]) -> Task:
    check_line(bare.name, "name", places.get("name", "name"), MAX_LABEL_CHARS)
    check_line(bare.text_name, "text_name", places.get("text_name", "text_name"), MAX_LABEL_CHARS)
    check_lines(bare.instruction, "instruction", places.get("instruction", "instruction"), MAX_INSTRUCTION_CHARS)
    check_known(rows, bare.label_names)
    kept, warnings = drop_repeats(rows)
    examples = tuple(row.example for row in kept)
    check_shots(examples, bare.label_names, 1, places.get("examples", "examples"))
    check_known(test or (), bare.label_names)
    warnings += warnings_of_test(examples, test or ())
    if bare.unlabeled_path is not None:
        # Only the first row is read: a missing file or column should not wait until the texts are needed.
        next(iter_texts(bare.unlabeled_path, text_column=bare.text_column), None)
        warnings.append("the texts of `unlabeled` are not used: every recipe does without")
    held_out = None if test is None else tuple(row.example for row in test)
    return replace(bare, examples=examples, test=held_out, warnings=tuple(warnings))


def _located(test: Sequence[Example]) -> list[Located]:
    return [Located(row, f"test[{index}]") for index, row in enumerate(test)]


def _default_instruction(text_name: str) -> str:
    return f"Classify the {text_name} as one of the labels."
