"""Killed, interrupted, resumed: the same command finishes with the bytes of a run nobody disturbed."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from handful.cli.app import execute
from handful.storage import files
from tests.commands import handful, start, write_task

RUN = ("run", "task.yaml", "--model", "scripted", "--run", "run", "--set", "generate.synthetic_per_label=40")
SAME = ("candidates.jsonl", "verdicts.jsonl", "training.jsonl")


def made(folder: Path) -> dict[str, bytes]:
    """What must not depend on interruptions."""
    run = folder / "run"
    paths = [*(run / name for name in SAME), *sorted((run / "adapter").iterdir())]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    write_task(folder)
    process = start(*RUN, cwd=folder)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return made(folder)


def _in_child(folder: str, die_at: int | None) -> None:
    """Run the command in this forked process; die at the given change on disk, or count the changes."""
    os.chdir(folder)
    count = 0

    def failpoint(operation: str) -> None:
        nonlocal count
        count += 1
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    files.failpoint = failpoint
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = execute(RUN)
    Path("operations").write_text(str(count))
    os._exit(code)


@pytest.fixture(scope="module")
def server() -> multiprocessing.context.ForkServerContext:
    """Processes that are forked with everything imported: the working part is a second, importing is three."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_cli_stops", "handful.pipeline", "handful.distributed", "handful.task"])
    return context


Server = multiprocessing.context.ForkServerContext


def children(server: Server, folders: Sequence[Path], moments: Sequence[int | None]) -> list[int | None]:
    """Run the command in every folder at the same time, and return the exit codes.

    From one thread: two that ask a `Process` for its exit code at once race for it in the standard library.
    """
    processes = [server.Process(target=_in_child, args=(str(f), m)) for f, m in zip(folders, moments, strict=True)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    server: Server, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    folders = [tmp_path / f"operation{trial}" for trial in range(41)]
    for folder in folders:
        folder.mkdir()
        write_task(folder, test=False)
    whole = folders.pop()
    assert children(server, [whole], [None]) == [0]
    assert made(whole) == undisturbed
    operations = int((whole / "operations").read_text())
    assert operations > 100
    moments = random.Random(0).sample(range(1, operations), len(folders))
    for at in range(0, len(folders), 4):
        batch, killed = folders[at : at + 4], moments[at : at + 4]
        assert children(server, batch, killed) == [-signal.SIGKILL] * len(batch)
        # One of them is killed once more on the way; it still gets there.
        children(server, batch[:1], [moments[-1 - at]])
        assert children(server, batch, [None] * len(batch)) == [0] * len(batch)
        for folder, moment in zip(batch, killed, strict=True):
            assert made(folder) == undisturbed, f"killed at change {moment} of {operations}"


def test_killed_from_outside_it_ends_with_the_same_bytes(
    server: Server, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    chance = random.Random(1)
    folders = [tmp_path / f"time{trial}" for trial in range(10)]
    killed = 0
    for folder in folders:
        folder.mkdir()
        write_task(folder)
        process = server.Process(target=_in_child, args=(str(folder), None))
        process.start()
        wait_for_steps(folder, chance.randrange(1, 12))
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.join(60)
        killed += process.exitcode == -signal.SIGKILL
    assert killed >= 5
    for at in range(0, len(folders), 5):
        batch = folders[at : at + 5]
        assert children(server, batch, [None] * 5) == [0] * 5
        assert all(made(folder) == undisturbed for folder in batch)


def wait_for_steps(folder: Path, count: int) -> None:
    """Wait until so many steps of the run are on the disk."""
    deadline = time.monotonic() + 60
    while len(list((folder / "run" / "steps").glob("*.jsonl"))) < count:
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_go_on(
    number: signal.Signals, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    write_task(tmp_path)
    process = start(*RUN, cwd=tmp_path)
    wait_for_steps(tmp_path, 3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b""), err
    message = err.decode()
    assert "Stopping after this batch; once more stops at once." in message
    assert "Traceback" not in message
    last = message.rstrip().splitlines()[-1]
    assert last == f"  handful {' '.join(RUN)}"
    assert "Go on with:" in message
    steps = {path.name: path.read_bytes() for path in (tmp_path / "run" / "steps").iterdir() if "cand" in path.name}
    again = start(*RUN, cwd=tmp_path)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert made(tmp_path) == undisturbed
    assert all((tmp_path / "run" / "steps" / name).read_bytes() == data for name, data in steps.items())


def test_a_second_interrupt_stops_at_once(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    write_task(tmp_path)
    process = start(*RUN, cwd=tmp_path)
    wait_for_steps(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err
    again = start(*RUN, cwd=tmp_path)
    assert again.wait(timeout=60) == 0
    assert made(tmp_path) == undisturbed


def test_an_interrupt_before_the_work_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("handful.task.load_task", interrupt)
    result = handful("check", "a task.yaml")
    assert result.code == 130
    assert result.err == "handful: stopped at once. Go on with:\n  handful check 'a task.yaml'\n"


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("predict run x.csv -oout.csv", "Go on with:\n  handful predict run x.csv -oout.csv\n"),
        ("predict run x.csv --output=o.csv", "Go on with:\n  handful predict run x.csv --output=o.csv\n"),
        ("predict run x.csv -o o.csv --force", "Go on with:\n  handful predict run x.csv -o o.csv\n"),
        ("predict run - -o out.csv", "Go on, with the same texts:\n  handful predict run - -o out.csv\n"),
        ("predict run x.csv", "Begin anew, with the same texts:\n  handful predict run x.csv\n"),
    ],
)
def test_what_a_stopped_prediction_is_told(
    command: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("handful.prediction_files.classifier_directory", interrupt)
    result = handful(*command.split())
    said = "stopped" if "Begin" in advice else "stopped at once"
    assert (result.code, result.err) == (130, f"handful: {said}. {advice}")


def test_an_interrupt_while_evaluating(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_task(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert handful("train", *RUN[1:]).code == 0

    from handful.cli import watching

    advance = watching.Watch.advance

    def interrupted(self: watching.Watch, count: int) -> None:
        advance(self, count)
        self._stop.requested = True

    with monkeypatch.context() as patch:
        patch.setattr(watching.Watch, "advance", interrupted)
        assert handful(*RUN).code == 130
    assert not (tmp_path / "run" / "results.json").exists()
    assert not list((tmp_path / "run" / "steps").glob("predictions-*"))  # it did not wait for the end of a method
    assert handful(*RUN).code == 0
    assert (tmp_path / "run" / "results.json").exists()


def test_a_killed_prediction_goes_on_with_the_same_bytes(tmp_path: Path) -> None:
    write_task(tmp_path)
    assert start(*RUN, cwd=tmp_path).wait(timeout=60) == 0
    lines = ["text", *(f"red and blue number {n}" for n in range(12_000))]
    (tmp_path / "many.csv").write_text("\n".join(lines) + "\n")
    predict = ("predict", "run", "many.csv", "-o")
    assert start(*predict, "whole.csv", cwd=tmp_path).wait(timeout=120) == 0
    whole = (tmp_path / "whole.csv").read_bytes()
    assert whole.count(b"\n") == 12_001
    for number in (signal.SIGKILL, signal.SIGINT):
        process = start(*predict, "out.csv", cwd=tmp_path)
        partial = tmp_path / "out.csv.partial"
        while not partial.exists() or partial.stat().st_size < 100_000:
            assert process.poll() is None
            time.sleep(0.002)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert not (tmp_path / "out.csv").exists()
        if number == signal.SIGINT:
            assert process.returncode == 130
            assert err.decode().rstrip().endswith("handful predict run many.csv -o out.csv")
        assert start(*predict, "out.csv", cwd=tmp_path).wait(timeout=120) == 0
        assert (tmp_path / "out.csv").read_bytes() == whole
        assert sorted(path.name for path in tmp_path.glob("out.csv*")) == ["out.csv"]
        (tmp_path / "out.csv").unlink()


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    write_task(tmp_path)
    assert start(*RUN, cwd=tmp_path).wait(timeout=60) == 0
    lines = ["text", *(f"red and blue number {n}" for n in range(20_000))]
    (tmp_path / "many.csv").write_text("\n".join(lines) + "\n")
    process = start("predict", "run", "many.csv", cwd=tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait(timeout=60)
    assert b"Traceback" not in err
    assert b"fault of handful" not in err
