from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import handful, write_task


@pytest.fixture
def run(tmp_path: Path) -> Path:
    task = write_task(tmp_path)
    assert handful("run", task, "--model", "scripted", "--run", tmp_path / "run", "--set", "train.epochs=1").code == 0
    return tmp_path / "run"


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
        ("candidates.jsonl", "{}\n"),
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
        result = handful("status", run)
        (run / name).write_bytes(before)
        assert (result.code, result.out) == (2, ""), (name, content[:40], result.err)
        assert "Traceback" not in result.err


def test_timings_of_another_hand_are_begun_anew(run: Path) -> None:
    (run / "timings.json").write_text('{"stages": {"train": {}}}')
    (run / "adapter" / "handful.json").unlink()
    result = handful("run", run.parent / "task.yaml", "--model", "scripted", "--run", run, "--set", "train.epochs=1")
    assert result.code == 0, result.err


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
