from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from handful.errors import DataError
from handful.paper_sets import PAPER_SETS, from_distribution, from_hub, load_paper_set
from handful.task import Example

LABELS = {
    "sst2": ("positive", "negative"),
    "trec": ("abbreviation", "entity", "description", "human", "location", "number"),
    "ag_news": ("world", "sports", "business", "technology"),
}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "examples", "test", "warnings"),
    [("sst2", 6_911, 1_821, ("9 examples", "2 test")), ("trec", 5_380, 500, ("72 examples", "11 test")),
     ("ag_news", 4_999, 7_600, ())],
)  # fmt: skip
def test_the_sets_as_measured(data_root: Path, name: str, examples: int, test: int, warnings: tuple[str, ...]) -> None:
    task = load_paper_set(name, data_root)
    assert task.label_names == LABELS[name]
    assert len(task.examples) == examples
    assert task.test is not None
    assert len(task.test) == test
    assert [warning[: len(start)] for warning, start in zip(task.warnings, warnings, strict=True)] == list(warnings)
    drawn = task.sample(25, seed=0)
    assert len(drawn.examples) == 25 * len(LABELS[name])


@pytest.mark.data
def test_development_set(data_root: Path) -> None:
    task = load_paper_set("sst2", data_root, test_split="dev")
    assert task.test is not None
    assert len(task.test) == 872


def write_sets(root: Path) -> None:
    for name, labels in LABELS.items():
        (root / name).mkdir()
        for split in ("train", "test"):
            rows = "".join(f"{split} {label},{label}\n" for label in labels)
            (root / name / f"{split}.csv").write_text("text,label\n" + rows)


def test_folder_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sets(tmp_path)
    monkeypatch.setenv("HANDFUL_DATA", str(tmp_path))
    task = load_paper_set("trec")
    assert task.text_name == "question"
    assert task.instruction == "Classify the question by the type of its answer."
    assert task.examples[0] == Example("train abbreviation", "abbreviation")
    assert task.source == str(tmp_path / "trec")


def test_every_label_is_described() -> None:
    assert set(PAPER_SETS) == set(LABELS)
    for chosen in PAPER_SETS.values():
        assert all(label.description and label.verbalizer == label.name for label in chosen.labels)
        assert set(chosen.codes.values()) == set(chosen.hub_names.values()) == {label.name for label in chosen.labels}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sst-2", "'sst-2' is not one of the paper's sets. Did you mean 'sst2'?"),
        ("xyz", "'xyz' is not one of the paper's sets. The sets are 'sst2', 'trec', 'ag_news'."),
        ("trec", "trec: it is not known where the sets are. "
         "Fetch it with `handful data trec -o sets`; name that folder with --data, or set HANDFUL_DATA to it."),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.delenv("HANDFUL_DATA", raising=False)
    with pytest.raises(DataError) as caught:
        load_paper_set(name)
    assert str(caught.value) == message


class TestDistribution:
    def test_sst(self, tmp_path: Path) -> None:
        (tmp_path / "stsa.binary.train").write_text("1 a fine film .\n0 crème brûlée .\n", encoding="utf-8")
        (tmp_path / "stsa.binary.test").write_text("0 no .\n")
        (tmp_path / "stsa.binary.dev").write_text("1 yes .\n")
        task = from_distribution("sst2", tmp_path)
        assert task.examples == (Example("a fine film .", "positive"), Example("crème brûlée .", "negative"))
        assert task.test == (Example("no .", "negative"),)
        assert from_distribution("sst2", tmp_path, test_split="dev").test == (Example("yes .", "positive"),)

    def test_trec_is_latin_1_and_coarse(self, tmp_path: Path) -> None:
        codes = ("ABBR:exp", "ENTY:cremat", "DESC:def", "HUM:ind", "LOC:other", "NUM:dist")
        lines = "".join(f"{code} What is é {index} ?\n" for index, code in enumerate(codes))
        (tmp_path / "train_5500.label").write_bytes(lines.encode("latin-1"))
        (tmp_path / "TREC_10.label").write_bytes(b"NUM:dist How far is it from Denver to Aspen ?\n")
        task = from_distribution("trec", tmp_path)
        assert [example.label for example in task.examples] == list(LABELS["trec"])
        assert task.examples[0].text == "What is é 0 ?"
        assert task.test == (Example("How far is it from Denver to Aspen ?", "number"),)
        with pytest.raises(DataError, match=r"^trec: trec has no development set\. Use the test split\."):
            from_distribution("trec", tmp_path, test_split="dev")

    def test_ag_news(self, tmp_path: Path) -> None:
        rows = "".join(f'"{index}","Title {index}","He said ""so"", twice"\n' for index in range(1, 5))
        (tmp_path / "train.csv").write_text(rows)
        (tmp_path / "test.csv").write_text('"4","Rocket","It flew"\n')
        task = from_distribution("ag_news", tmp_path)
        assert [example.label for example in task.examples] == list(LABELS["ag_news"])
        assert task.examples[0].text == 'Title 1 He said "so", twice'
        assert task.test == (Example("Rocket It flew", "technology"),)

    def test_wrong_file_says_the_line(self, tmp_path: Path) -> None:
        (tmp_path / "stsa.binary.train").write_text("1 a\n2 b\n")
        with pytest.raises(DataError) as caught:
            from_distribution("sst2", tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}/stsa.binary.train:2: '2' is not a label of this set; they are '0', '1'. "
            "Is this the right file?"
        )


class FakeTable:
    def __init__(self, columns: dict[str, list[Any]], label: str, names: tuple[str, ...] | None) -> None:
        self.column_names = list(columns)
        self.columns = columns
        self.features = {label: type("Feature", (), {"names": names})()}

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]


class TestHub:
    def test_class_names_become_labels(self) -> None:
        asked = []

        def load(**options: str) -> FakeTable:
            asked.append(options)
            texts = [f"{options['split']} {index}" for index in range(4)]
            columns: dict[str, list[Any]] = {"text": texts, "label": [0, 1, 2, 3]}
            return FakeTable(columns, "label", ("World", "Sports", "Business", "Sci/Tech"))

        task = from_hub("ag_news", load=load)
        assert asked == [{"path": "fancyzhx/ag_news", "split": split} for split in ("train", "test")]
        assert [example.label for example in task.examples] == list(LABELS["ag_news"])
        assert task.test is not None
        assert task.test[3] == Example("test 3", "technology")
        assert task.source == "hub:fancyzhx/ag_news"

    def test_development_set_has_its_own_name_there(self) -> None:
        def load(**options: str) -> FakeTable:
            texts = [f"{options['split']} {index}" for index in range(2)]
            return FakeTable({"text": texts, "label_text": ["positive", "negative"]}, "label_text", None)

        task = from_hub("sst2", test_split="dev", load=load)
        assert task.test == (Example("validation 0", "positive"), Example("validation 1", "negative"))

    def test_offline(self) -> None:
        def load(**options: str) -> FakeTable:
            raise ConnectionError("no route")

        with pytest.raises(DataError) as caught:
            from_hub("trec", load=load)
        assert str(caught.value) == (
            "hub:CogComp/trec: the hub gave no data: ConnectionError: 'no route'. "
            "Without a network, put the set in a folder and set HANDFUL_DATA to it."
        )

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(DataError) as caught:
            from_hub("trec")
        assert str(caught.value) == (
            "hub:CogComp/trec: reading from the hub needs the package datasets. "
            "Install it with: pip install 'handful[data]'."
        )
