"""The tasks shipped in examples/ are complete, balanced and free of leaks from examples to test."""

import csv
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[1] / "examples"

LABELS = {
    "support-tickets": ["billing", "access", "bug", "shipping", "feature"],
    "smart-home": ["lights", "heating", "music", "timer", "weather", "shopping_list", "lock"],
    "subjectivity-notes": ["fact", "opinion"],
}
TEST_TEXTS_PER_LABEL = {"support-tickets": 20, "smart-home": 10, "subjectivity-notes": 30}

every_task = pytest.mark.parametrize("name", LABELS)


def read_task(name: str) -> dict[str, Any]:
    text = (EXAMPLES / name / "task.yaml").read_text(encoding="utf-8")
    task: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
    return task


def read_rows(name: str, part: str) -> list[tuple[str, str]]:
    """Return the (text, label) rows of the file the task names as its `part`."""
    path = EXAMPLES / name / read_task(name)[part]
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    assert header == ["text", "label"]
    assert all(len(row) == 2 for row in rows)
    return [(text, label) for text, label in rows]


def normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def trigrams(text: str) -> set[tuple[str, ...]]:
    """Return the word trigrams; of a shorter text, all its words as one item."""
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / len(a | b)


def test_every_shipped_task_is_checked() -> None:
    assert {path.parent.name for path in EXAMPLES.glob("*/task.yaml")} == set(LABELS)


@every_task
def test_task_file(name: str) -> None:
    task = read_task(name)
    assert set(task) == {"name", "instruction", "text_name", "labels", "examples", "test"}
    assert task["name"] == name
    assert list(task["labels"]) == LABELS[name]
    for label in task["labels"].values():
        # An unquoted comma inside {...} would cut the description and leave a stray key.
        assert set(label) == {"verbalizer", "description"}
        assert all(label.values())
    assert len({label["verbalizer"] for label in task["labels"].values()}) == len(LABELS[name])


@every_task
def test_counts_and_labels(name: str) -> None:
    examples = Counter(label for _, label in read_rows(name, "examples"))
    test = Counter(label for _, label in read_rows(name, "test"))
    assert examples == dict.fromkeys(LABELS[name], 4)
    assert test == dict.fromkeys(LABELS[name], TEST_TEXTS_PER_LABEL[name])


@every_task
def test_rows_are_shuffled(name: str) -> None:
    labels = [label for _, label in read_rows(name, "test")]
    assert len(list(itertools.groupby(labels))) > 2 * len(LABELS[name])


@every_task
def test_no_empty_text(name: str) -> None:
    texts = [text for part in ("examples", "test") for text, _ in read_rows(name, part)]
    assert all(texts)
    assert texts == [text.strip() for text in texts]


@every_task
def test_no_duplicates(name: str) -> None:
    texts = Counter(normalised(text) for part in ("examples", "test") for text, _ in read_rows(name, part))
    assert [text for text, count in texts.items() if count > 1] == []


@every_task
def test_no_near_duplicates(name: str) -> None:
    """No test text shares more than half of its word trigrams with an example or with another test text."""
    examples = [text for text, _ in read_rows(name, "examples")]
    test = [text for text, _ in read_rows(name, "test")]
    pairs = itertools.chain(itertools.product(test, examples), itertools.combinations(test, 2))
    assert [(a, b) for a, b in pairs if jaccard(trigrams(a), trigrams(b)) > 0.5] == []
