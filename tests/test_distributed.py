"""Training in two processes: one writes, both compute, and the classifier is whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from handful import distributed
from handful.storage.directories import verify_directory
from tests.commands import PROJECT, handful, write_task

OPTIONS = (
    *("--run", "run"),
    *("--set", "filter.method=none"),
    *("--set", "generate.synthetic_per_label=8"),
    *("--set", "generate.batch_size=16"),
    *("--set", "generate.max_new_tokens=12"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path)
    return tmp_path


def launch(*argv: str, folder: Path, port: int = 29_541) -> subprocess.Popen[bytes]:
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    more = ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port), "-m", "handful"]
    return subprocess.Popen(
        [sys.executable, *launcher, *more, *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.slow
def test_two_processes_train_one_classifier(folder: Path, tiny_model_dir: Path) -> None:
    options = ("--model", str(tiny_model_dir), *OPTIONS)
    assert handful("filter", "task.yaml", *options).code == 0
    process = launch("train", "task.yaml", *options, folder=folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    verify_directory(folder / "run" / "adapter")
    assert out.decode().count("Classifier: run/adapter") == 1
    assert not list((folder / "run" / "steps").glob("train-*"))
    # The classifier answers, and one process finds it done.
    assert len(handful("predict", "run", "test.jsonl").events()) == 8
    before = (folder / "run" / "adapter" / "SHA256SUMS").read_bytes()
    again = handful("train", "task.yaml", *options)
    assert again.code == 0, again.err
    assert "train:" not in again.err
    assert (folder / "run" / "adapter" / "SHA256SUMS").read_bytes() == before
    # So do two.
    process = launch("train", "task.yaml", *options, folder=folder, port=29_542)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert (folder / "run" / "adapter" / "SHA256SUMS").read_bytes() == before


@pytest.mark.slow
def test_two_processes_killed_go_on_from_the_checkpoint(folder: Path, tiny_model_dir: Path) -> None:
    options = ("--model", str(tiny_model_dir), *OPTIONS, "--set", "train.epochs=200")
    assert handful("filter", "task.yaml", *options).code == 0
    process = launch("train", "task.yaml", *options, folder=folder, port=29_543)
    steps = folder / "run" / "steps"
    deadline = time.monotonic() + 120
    while not list(steps.glob("train-*-checkpoint-*.bin")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (folder / "run" / "adapter").exists()
    process = launch("train", "task.yaml", *options, "--json", folder=folder, port=29_544)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    events = [json.loads(line) for line in out.decode().splitlines()]
    trained = next(event for event in events if event["event"] == "stage_end")
    assert trained["read_from_disk"] > 0
    assert trained["computed"] > 0
    verify_directory(folder / "run" / "adapter")


def test_only_training_runs_in_several_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for command in ("run", "generate", "filter"):
        result = handful(command, "task.yaml", "--model", "scripted", *OPTIONS)
        assert result.code == 2
        assert result.err == (
            "handful: only `handful train` runs in several processes. "
            "Do this stage in one process, then `accelerate launch -m handful train ...`.\n"
        )
    result = handful("train", "task.yaml", "--model", "scripted", *OPTIONS)
    assert (result.code, result.err) == (
        2,
        "handful: run: there is no training.jsonl: writing and checking are not done. "
        "Run `handful filter` with the same options in one process first.\n",
    )


def test_others_than_the_first_write_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--model", "scripted", *OPTIONS)
    assert handful("filter", "task.yaml", *options).code == 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert distributed.rank() == 1
    result = handful("train", "task.yaml", *options)
    assert (result.code, result.out, result.err) == (0, "", "")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert handful("train", "task.yaml", *options, "--seed", "1").code == 2
    monkeypatch.setenv("RANK", "0")
    assert handful("train", "task.yaml", *options).code == 0
    verify_directory(folder / "run" / "adapter")
