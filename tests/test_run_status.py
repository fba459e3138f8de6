from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from handful.run_status import read_timings
from tests.commands import handful, write_task


@pytest.fixture
def run(tmp_path: Path) -> Path:
    task = write_task(tmp_path)
    assert handful("run", task, "--model", "scripted", "--run", tmp_path / "run", "--set", "train.epochs=1").code == 0
    return tmp_path / "run"


def changed(run: Path, key: str, value: object) -> dict[str, Any]:
    """The manifest of a run with one value of its identity changed."""
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    manifest["identity"][key] = value
    return manifest


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def without(path: Path, key: str) -> str:
    value = json.loads(path.read_text())
    del value["identity"][key]
    return json.dumps(value)


def test_tampered_files_are_named_and_nothing_is_shown(run: Path) -> None:
    assert handful("status", run).code == 0
    for name, content in (
        ("manifest.json", without(run / "manifest.json", "recipe")),
        ("manifest.json", '{"format": 1, "identity": [], "environment": {}}'),
        ("manifest.json", "[" * 100_000),
        ("manifest.json", json.dumps(changed(run, "note", nested(700)))),
        ("candidates.jsonl", "{}\n"),
        ("candidates.jsonl", '{"intended_label": 5}\n'),
        ("candidates.jsonl", '{"intended_label": ["alpha"]}\n'),
        ("candidates.jsonl", "[" * 100_000 + "\n{}\n"),
        ("results.json", '{"n_test": 1}'),
        ("results.json", '{"n_test": 1, "methods": [{"title": "x", "accuracy": "much"}]}'),
        (
            "results.json",
            '{"n_test": 1, "methods": [{"title": "x", "accuracy": "0.5", "accuracy_low": 0, '
            '"accuracy_high": 1, "macro_f1": 1, "calibrated_accuracy": null, "ms_per_text": 1, "prompt_tokens": 1}]}',
        ),
        ("results.json", "[" * 100_000),
    ):
        before = (run / name).read_bytes()
        (run / name).write_text(content)
        results = [handful("status", run), handful("status", run, "--json")]
        (run / name).write_bytes(before)
        for result in results:
            assert (result.code, result.out) == (2, ""), (name, content[:40], result.err)
            assert "Traceback" not in result.err


def test_timings_of_another_hand_are_no_timings(run: Path) -> None:
    known = read_timings(run)
    assert known == json.loads((run / "timings.json").read_text())
    stage = '{"seconds": 1.5, "units": 2, "unit": "steps"}'
    assert handful("status", run, "--json").events()[0]["timings"] == known
    for damage in (
        '{"stages": {"train": {}}}',
        '{"stages": true}',
        "[]",
        "{",
        json.dumps(nested(700)),
        f'{{"stages": {{"train": {stage.replace("1.5", "NaN")}}}}}',
        f'{{"stages": {{"train": {stage.replace("1.5", "1e400")}}}}}',
        f'{{"stages": {{"a": {stage.replace("1.5", "1e308")}, "b": {stage.replace("1.5", "1e308")}}}}}',
        f'{{"stages": {{"train": {stage.replace("2", "Infinity")}}}}}',
        f'{{"stages": {{"train": {stage.replace("2", "-1")}}}}}',
        f'{{"stages": {{"train": {stage.replace("2", "9" * 400)}}}}}',
    ):
        (run / "timings.json").write_text(damage)
        assert read_timings(run) is None, damage[:80]
    (run / "timings.json").write_text(f'{{"stages": {{"train": {stage}, "write": {stage}}}}}')
    assert read_timings(run) == {"stages": {"train": json.loads(stage), "write": json.loads(stage)}, "seconds": 3.0}


def test_a_run_goes_on_with_timings_of_another_hand(run: Path) -> None:
    (run / "timings.json").write_text('{"stages": {"train": {"seconds": NaN, "units": Infinity, "unit": "steps"}}}')
    assert handful("status", run, "--json").events()[0]["timings"] is None
    assert handful("report", run).code == 0
    (run / "adapter" / "handful.json").unlink()
    result = handful("run", run.parent / "task.yaml", "--model", "scripted", "--run", run, "--set", "train.epochs=1")
    assert result.code == 0, result.err
    assert list(json.loads((run / "timings.json").read_text())["stages"]) == ["train"]


def test_a_value_shows_no_line_of_its_own(run: Path) -> None:
    (run / "manifest.json").write_text(json.dumps(changed(run, "recipe", {"name": "x\n  evaluate  done\tby me"})))
    (run / "results.json").unlink()
    (run / "candidates.jsonl").write_text(json.dumps({"intended_label": "a\n  train done"}) + "\n")
    (run / "adapter" / "a\nevaluate  done").write_text("")
    shown = handful("status", run)
    assert shown.code == 0, shown.err
    assert "recipe x\\n  evaluate  done\\tby me, seed 0," in shown.out
    assert "a\\n  train done" in shown.out
    lines = [line.split() for line in shown.out.splitlines()]
    assert [line for line in lines if line[:1] == ["evaluate"]] == [["evaluate", "not", "done"]]
    assert [line for line in lines if line[:1] == ["train"]] == [["train", "not", "done"]]


def test_what_a_stranger_wrote_does_not_steer_the_terminal(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["identity"]["task_name"] = "\x1b]0;title\x07 \u202egood"
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "adapter" / "\x1b[2J").write_text("")
    shown = handful("status", run)
    assert shown.code == 0
    assert "\x1b" not in shown.out + shown.err
    assert "task \\x1b]0;title\\x07 \\u202egood" in shown.out
    assert "\\x1b[2J does not belong to it" in shown.out


def test_what_a_stranger_wrote_does_not_steer_the_terminal_through_the_log(run: Path) -> None:
    (run / "adapter" / "\x1b]0;owned\x07\x1b[31mnotes.txt").write_text("")
    told = handful("train", run.parent / "task.yaml", "--model", "scripted", "--run", run, "--set", "train.epochs=1")
    assert told.code == 0, told.err
    assert "\\x1b]0;owned\\x07\\x1b[31mnotes.txt does not belong to it; renamed to" in " ".join(told.err.split())
    assert not {"\x1b", "\x07"} & {*told.out, *told.err}
