"""`handful benchmark` as a user gives it; the scripted model answers."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.commands import handful, write_task

SCRIPTED = ("--model", "scripted", "-o", "bench", "--seeds", "2", "--set", "generate.synthetic_per_label=3")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path)


def test_a_table_per_task_and_the_same_again() -> None:
    first = handful("benchmark", "task.yaml", *SCRIPTED)
    assert first.code == 0, first.err
    assert "ours (4 + 3)" in first.out
    assert "bench/accuracy.csv" in first.out
    table = Path("bench/accuracy.csv").read_bytes()
    again = handful("benchmark", "task.yaml", *SCRIPTED)
    assert again.out == first.out
    assert Path("bench/accuracy.csv").read_bytes() == table


def test_seeds_measured_apart_are_one_benchmark_once_their_draws_are_in_one_folder() -> None:
    methods = ("--methods", "zero_shot,lora_real:full,lora_synthetic@2")
    whole, first, rest = (("benchmark", "task.yaml", *SCRIPTED, *methods, "-o", name) for name in "abc")
    assert handful(*whole, "--seeds", "3").code == 0
    assert handful(*first, "--seeds", "0-0").code == 0
    assert handful(*rest, "--seeds", "1-2").code == 0
    # The whole training set is the first seed's, and `@2` is of seeds 0 and 1, wherever they are measured.
    found = [json.loads(line) for line in Path("c/cells.jsonl").read_text().splitlines()]
    assert [(row["spec"], row["seed"]) for row in found] == [("zero_shot", 1), ("lora_synthetic", 1), ("zero_shot", 2)]
    shutil.copytree("c/runs", "b/runs", dirs_exist_ok=True)
    measured = sorted((path, path.stat().st_mtime_ns) for path in Path("b/runs").rglob("cell-*"))
    assert measured
    again = handful(*first, "--seeds", "3")
    assert again.code == 0, again.err
    assert sorted((path, path.stat().st_mtime_ns) for path in Path("b/runs").rglob("cell-*")) == measured
    assert without_times("b") == without_times("a")


def without_times(name: str) -> list[dict[str, str]]:
    with (Path(name) / "accuracy.csv").open(newline="") as file:
        return [
            {column: value for column, value in row.items() if not column.endswith(("_seconds", "ms_per_text"))}
            for row in csv.DictReader(file)
        ]


def test_a_draw_is_a_run_to_the_commands_that_read_runs() -> None:
    assert handful("benchmark", "task.yaml", *SCRIPTED).code == 0
    for draw in Path("bench/runs").iterdir():
        for command in ("status", "report", "audit"):
            result = handful(command, draw)
            assert result.code == 0, result.err
    assert handful("report", "bench").out == "Report: bench/report.html\n"


def test_events_for_programs() -> None:
    result = handful("benchmark", "task.yaml", *SCRIPTED, "--json", "--methods", "zero_shot")
    assert result.code == 0, result.err
    assert result.events()[-1]["event"] == "result"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "lora_syntetic"), "Did you mean 'lora_synthetic'?"),
        (("--methods", "lora_real:25"), "no label has 25 examples, the most is 4"),
        (("--shots-per-label", "5"), "no label has 5 examples, the most is 4. Ask for fewer"),
        (("--seeds", "0"), "'0' are no seeds"),
        (("--seeds", "3-2"), "'3-2' are no seeds"),
        (("--seeds", "0-999999999"), "1 to 1,000"),
        (("--seeds", "-1"), "'-1' are no seeds"),
        (("--seeds", "1-2", "--methods", "lora_real:full"), "no method is measured with these seeds"),
        (("--set", "train.epoch=3"), "epochs"),
    ],
)
def test_what_cannot_be_done_is_said_at_once(arguments: tuple[str, ...], message: str) -> None:
    result = handful("benchmark", "task.yaml", *SCRIPTED, *arguments)
    assert result.code == 2
    assert message in result.err
    assert not Path("bench").exists()


def test_the_same_task_twice_is_refused() -> None:
    result = handful("benchmark", "task.yaml", "task.yaml", *SCRIPTED)
    assert result.code == 2
    assert "two tasks are called" in result.err


def test_status_of_a_benchmark_says_what_it_is() -> None:
    handful("benchmark", "task.yaml", *SCRIPTED, "--methods", "zero_shot")
    result = handful("status", "bench")
    assert result.code == 2
    assert "benchmark" in result.err


def test_an_estimate_needs_no_test_texts() -> None:
    write_task(Path(), test=False)
    result = handful("estimate", "task.yaml", "--model", "scripted", "--set", "generate.synthetic_per_label=3")
    assert result.code == 0, result.err
    assert "These 8 answers tell two methods apart only if" in result.out
    assert "4 folds" in result.out
    again = handful("estimate", "task.yaml", "--model", "scripted", "--set", "generate.synthetic_per_label=3")
    assert again.out == result.out
    (directory,) = Path("runs").glob("*-estimate")
    page = handful("report", str(directory))
    assert page.code == 2
    assert "an estimate has no page" in page.err
    assert not (directory / "report.html").exists()


def test_more_folds_than_examples_are_refused() -> None:
    result = handful("estimate", "task.yaml", "--model", "scripted", "--folds", "5")
    assert result.code == 2
    assert "at least 5" in result.err


def test_ours_without_written_texts_is_called_what_it_is() -> None:
    methods = "lora_real,lora_synthetic[generate.synthetic_per_label=0]"
    result = handful("benchmark", "task.yaml", *SCRIPTED, "--methods", methods)
    assert result.code == 2
    assert "has no written texts: N is 0. Write lora_real for the examples alone." in result.err


def test_a_label_with_fewer_examples_than_are_drawn_gives_all_it_has_and_is_named() -> None:
    examples = {"red": [f"red thing {i}" for i in range(4)], "blue": ["blue one", "blue sky", "blue sea"]}
    write_task(Path(), examples=examples)
    methods = "lora_real,lora_synthetic"
    result = handful("benchmark", "task.yaml", *SCRIPTED, "--shots-per-label", "4", "--methods", methods)
    assert result.code == 0, result.err
    assert result.err.count("colours: there are fewer than 4 examples of some labels") == 1
    cells = [json.loads(line) for line in Path("bench/cells.jsonl").read_text().splitlines()]
    assert {cell["n_training"] for cell in cells if cell["method"] == "lora_real"} == {7}
    page = Path("bench/report.html").read_text()
    assert "there are fewer than 4 examples of some labels, all of them are used: 3 of &#39;blue&#39;" in page
