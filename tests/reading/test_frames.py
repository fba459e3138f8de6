from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handful.errors import DataError
from handful.reading.frames import locate_examples_from
from handful.records import Example

TWO = [Example("I was charged twice", "billing"), Example("I cannot log in", "access")]


def examples_of(data: Any, **columns: str) -> list[Example]:
    return [row.example for row in locate_examples_from(data, **columns)]


class FakeClassLabel:
    names = ("billing", "access")


class FakeDataset:
    """What a Hugging Face Dataset offers, as far as it is used."""

    column_names = ("text", "label")

    def __init__(self, labels: list[Any]) -> None:
        self.features = {"text": object(), "label": FakeClassLabel()}
        self.columns = {"text": [example.text for example in TWO], "label": labels}

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]


class TestExamplesFrom:
    @pytest.mark.parametrize(
        "data",
        [
            TWO,
            tuple((example.text, example.label) for example in TWO),
            ([example.text, example.label] for example in TWO),
            [example.to_row() for example in TWO],
            FakeDataset([0, 1]),
            FakeDataset(["billing", "access"]),
        ],
    )
    def test_kinds(self, data: object) -> None:
        assert examples_of(data) == TWO

    def test_path(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("text,label\nI was charged twice,billing\nI cannot log in,access\n")
        assert examples_of(path) == examples_of(str(path)) == TWO

    @pytest.mark.parametrize("package", ["pandas", "polars"])
    def test_frames(self, package: str) -> None:
        frame = pytest.importorskip(package).DataFrame({"body": [row.text for row in TWO], "y": ["billing", "access"]})
        assert examples_of(frame, text_column="body", label_column="y") == TWO

    def test_real_dataset_with_class_names(self) -> None:
        datasets = pytest.importorskip("datasets")
        features = datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["billing", "access"])}
        )
        rows = {"text": [row.text for row in TWO], "label": [0, 1]}
        assert examples_of(datasets.Dataset.from_dict(rows, features=features)) == TWO

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                [("a", "b"), ("a", 1)],
                "examples[1]: the label is 1 (int), not a string. "
                "Turn the labels into strings yourself, so that none is guessed.",
            ),
            (
                [(float("nan"), "b")],
                "examples[0]: the text is nan (float), not a string. "
                "Turn the texts into strings yourself, so that none is guessed.",
            ),
            (["ab"], "examples[0]: 'ab' is not an example. Give (text, label) pairs."),
            (
                [{"txt": "a", "label": "b"}],
                "examples[0]: there is no column 'text'; the columns are 'txt', 'label'. "
                "Did you mean 'txt'? Rename the column, or say which one to read: "
                "--text-column, or in a task file text_column and label_column.",
            ),
            (
                {"train": [], "test": []},
                "examples: examples cannot be read from an object of type dict. "
                "Give one table or a list of (text, label) pairs; of several splits, one: train, test.",
            ),
            (3, "examples: examples cannot be read from an object of type int. Give a path or a list."),
            (
                FakeDataset([0, -1]),
                "examples[1]: the label -1 is not one of the 2 classes of the data set. "
                "Is this a split without labels (-1)? Give a labelled one.",
            ),
        ],
    )
    def test_errors(self, data: object, message: str) -> None:
        with pytest.raises(DataError) as caught:
            examples_of(data)
        assert str(caught.value) == message

    def test_lazy_frame(self) -> None:
        frame = pytest.importorskip("polars").LazyFrame({"text": ["a"], "label": ["b"]})
        with pytest.raises(DataError, match="Collect it first"):
            examples_of(frame)
