from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from handful.paper_sets import load_paper_set
from tests.commands import handful
from tests.test_paper_sets import FakeTable


def _write_sst(folder: Path) -> None:
    folder.mkdir()
    (folder / "stsa.binary.train").write_text('1 a "fine" film , truly .\n0 crème brûlée .\n', encoding="utf-8")
    (folder / "stsa.binary.test").write_text("0 no .\n")
    (folder / "stsa.binary.dev").write_text("1 yes .\n")


def test_the_authors_files_become_the_folder_that_runs_read(tmp_path: Path) -> None:
    _write_sst(tmp_path / "sst")
    command = ("data", "sst2", "--files", tmp_path / "sst", "-o", tmp_path / "sets")
    result = handful(*command)
    assert (result.code, result.err) == (0, "")
    assert f"{tmp_path}/sets/sst2: 2 train, 1 test, 1 dev" in result.out
    task = load_paper_set("sst2", tmp_path / "sets")
    assert [(e.text, e.label) for e in task.examples] == [
        ('a "fine" film , truly .', "positive"),
        ("crème brûlée .", "negative"),
    ]
    assert load_paper_set("sst2", tmp_path / "sets", test_split="dev").test != task.test
    before = (tmp_path / "sets" / "sst2" / "train.csv").read_bytes()
    (tmp_path / "sst" / "stsa.binary.train").write_text("1 other .\n0 no .\n")
    refused = handful(*command)
    assert (refused.code, (tmp_path / "sets" / "sst2" / "train.csv").read_bytes()) == (2, before)
    assert "it is there already. Name another folder with -o, or pass --force." in refused.err
    assert handful(*command, "--force").code == 0
    assert (tmp_path / "sets" / "sst2" / "train.csv").read_bytes() != before


def test_without_files_the_hub_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is a fake: there is no network here."""

    def load(**asked: str) -> FakeTable:
        columns: dict[str, list[Any]] = {
            "text": [f"{asked['split']}\r{n}" for n in range(6)],
            "coarse_label": [*range(6)],
        }
        return FakeTable(columns, "coarse_label", ("ABBR", "ENTY", "DESC", "HUM", "LOC", "NUM"))

    monkeypatch.setattr("handful.paper_sets._hub_loader", lambda where: load)
    result = handful("data", "trec", "-o", tmp_path)
    assert (result.code, result.err) == (0, "")
    task = load_paper_set("trec", tmp_path)
    assert [example.text for example in task.test or ()] == [f"test\r{n}" for n in range(6)]
    assert not (tmp_path / "trec" / "dev.csv").exists()


def test_an_unknown_set_and_missing_files_write_nothing(tmp_path: Path) -> None:
    assert "Did you mean 'sst2'?" in handful("data", "sst-2", "-o", tmp_path / "sets").err
    result = handful("data", "trec", "--files", tmp_path, "-o", tmp_path / "sets")
    assert (result.code, (tmp_path / "sets").exists()) == (2, False)
