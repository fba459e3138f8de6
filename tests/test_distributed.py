"""Training in two processes: one writes, both compute, and the classifier is whole."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch

from handful import distributed
from handful.storage.directories import verify_directory
from tests.commands import PROJECT, handful, write_task

OPTIONS = (
    *("--run-dir", "run"),  # torchrun takes --run for an abbreviation of its own --run-path
    *("--set", "filter.method=none"),
    *("--set", "generate.synthetic_per_label=8"),
    *("--set", "generate.max_candidates_per_label=64"),  # of a random model's lines few pass screening
    *("--set", "generate.batch_size=16"),
    *("--set", "generate.max_new_tokens=12"),
)
TOOK_PART = b"process 1 of 2 takes part"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path)
    return tmp_path


def launch(*argv: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start two processes; `accelerate launch --cpu --num_processes 2` would start one, it needs MPI for more."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "handful", "-v"]
    return subprocess.Popen(
        [sys.executable, *launcher, *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_two_processes_train_one_classifier(folder: Path, tiny_model_dir: Path) -> None:
    options = ("--model", str(tiny_model_dir), *OPTIONS)
    assert handful("filter", "task.yaml", *options).code == 0
    process = launch("train", "task.yaml", *options, folder=folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert TOOK_PART in err
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
    process = launch("train", "task.yaml", *options, folder=folder)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert (folder / "run" / "adapter" / "SHA256SUMS").read_bytes() == before


@pytest.mark.slow
def test_two_processes_killed_go_on_from_the_checkpoint(folder: Path, tiny_model_dir: Path) -> None:
    options = ("--model", str(tiny_model_dir), *OPTIONS, "--set", "train.epochs=200")
    assert handful("filter", "task.yaml", *options).code == 0
    process = launch("train", "task.yaml", *options, folder=folder)
    steps = folder / "run" / "steps"
    deadline = time.monotonic() + 120
    while not list(steps.glob("train-*-checkpoint-*.bin")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    leader = json.loads((folder / "run" / ".handful.lock.json").read_text())["pid"]
    os.kill(leader, signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert TOOK_PART in err
    assert not (folder / "run" / "adapter").exists()
    process = launch("train", "task.yaml", *options, "--json", folder=folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert TOOK_PART in err
    events = [json.loads(line) for line in out.decode().splitlines()]
    (trained,) = (event for event in events if event["event"] == "stage_end")
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


TRAIN = """
import sys
from pathlib import Path

from accelerate import PartialState

from handful.llm.loading import load_model
from handful.train import train_adapter
from tests.test_train import plan_of

losses = []
files = train_adapter(
    load_model(sys.argv[1], device="cpu"),
    plan_of(batch_size=3, epochs=2, learning_rate=1e-3, max_grad_norm=None),
    on_step=lambda step, n_steps, loss: losses.append(loss),
)
if PartialState().is_main_process:
    Path(sys.argv[2]).write_bytes(files["adapter_model.safetensors"])
    Path(sys.argv[2] + ".losses").write_text(repr(losses))
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path, tiny_model_dir: Path) -> None:
    """Batches of three and of two of weights of their own, dealt out over two processes: the same weighted means."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for start, name in ([], "one"), (launcher, "two"):
        command = [sys.executable, *start, str(script), str(tiny_model_dir), str(tmp_path / name)]
        subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
    one, two = (ast.literal_eval((tmp_path / f"{name}.losses").read_text()) for name in ("one", "two"))
    assert len(one) == 4
    assert two == pytest.approx(one, abs=1e-6)
    adapters = [safetensors.torch.load_file(tmp_path / name) for name in ("one", "two")]
    moved = 0.0
    for key, value in adapters[0].items():
        # Adam's first steps are signs of the gradient: the smallest gradients may differ in theirs.
        assert float((value - adapters[1][key]).abs().median()) < 1e-6
        moved += float(value.abs().sum()) if "lora_B" in key else 0.0
    assert moved > 0
