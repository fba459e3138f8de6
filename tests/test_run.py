import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from handful.errors import RunError
from handful.records import Example, TrainingExample
from handful.run import Run, atomic_lines, fingerprint, open_run, read_jsonl, read_manifest
from handful.seeding import stream
from handful.storage import files

SETTINGS: dict[str, Any] = {
    "identity": {
        "task": {"name": "trec", "labels": ["a", "b"]},
        "recipe": {"train": {"epochs": 3, "rate": 0.1}},
        "seed": 0,
    },
    "environment": {"created": "2026-01-01T00:00:00Z", "torch": "2.13"},
}


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    yield
    files.failpoint = files._pass


def pipeline(directory: Path, settings: Mapping[str, Any] = SETTINGS, *, force: bool = False) -> None:
    """A small run with everything a real one has: rounds, checkpoints, an adapter, published files, predictions."""
    with open_run(directory, settings, force=force) as run:
        seed = settings["identity"]["seed"]
        candidates: list[dict[str, Any]] = []
        for number in range(2):
            inputs = [seed, number, fingerprint(candidates)]
            candidates += run.step("generate", inputs, lambda n=number: write(seed, n))  # type: ignore[misc]
        run.publish("candidates", candidates)
        kept = run.step("filter", candidates, lambda: [row for row in candidates if row["p"] > 0.3])
        run.publish("training", kept)
        run.adapter(kept, lambda: train(run, kept))
        run.clear_checkpoints("train")
        run.publish_json("results", {"kept": len(kept)})
        files.make_directory(directory / "predictions")
        with atomic_lines(directory / "predictions" / "test.csv", fingerprint(kept)) as writer:
            for start in range(writer.rows, 4, 2):
                writer.commit("".join(f"{row},é\n" for row in range(start, start + 2)).encode(), 2)


def write(seed: int, number: int) -> Iterator[dict[str, Any]]:
    chance = stream(seed, "generate", number)
    for index in range(4):
        yield {"id": f"{number}-{index}", "text": f"é \ud83d {chance.random()}", "p": chance.random() + 0.2}


def train(run: Run, rows: list[dict[str, Any]]) -> dict[str, bytes]:
    done, state = json.loads(run.load_checkpoint("train") or b"[0, 0.0]")
    for epoch in range(done, 3):
        state = (state + stream(epoch, "train").random() * len(rows)) / 3
        run.save_checkpoint("train", json.dumps([epoch + 1, state]).encode())
    return {"weights": repr(state).encode() * 10, "config": b"{}"}


def tree(directory: Path) -> dict[str, bytes]:
    """Every file and directory below, except for the lock."""
    paths = (path for path in sorted(directory.rglob("*")) if not path.name.startswith(".handful.lock"))
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b"" for path in paths}


def operations(work: Callable[[], object]) -> list[str]:
    seen: list[str] = []
    files.failpoint = seen.append
    work()
    files.failpoint = files._pass
    return seen


def act_from(number: int, act: Callable[[], None], *, once: bool = True) -> Callable[[str], None]:
    seen = []

    def failpoint(operation: str) -> None:
        seen.append(operation)
        if len(seen) == number or (len(seen) > number and not once):
            act()

    return failpoint


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def start_child(work: Callable[[], object], failpoint: Callable[[str], None]) -> int:
    child = os.fork()
    if child == 0:
        try:
            files.failpoint = failpoint
            work()
        finally:
            os._exit(0)
    return child


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def uninterrupted(tmp_path: Path) -> tuple[dict[str, bytes], list[str]]:
    seen = operations(lambda: pipeline(tmp_path / "whole"))
    return tree(tmp_path / "whole"), seen


def test_a_run_leaves_what_the_design_names(tmp_path: Path) -> None:
    whole, _ = uninterrupted(tmp_path)
    top = {name for name in whole if "/" not in name}
    assert top == {
        "manifest.json", "candidates.jsonl", "training.jsonl", "results.json", "adapter", "predictions", "steps",
    }  # fmt: skip
    assert {name.rsplit("-", 1)[0] for name in whole if name.startswith("steps/")} == {
        "steps/generate", "steps/filter", "steps/adapter_dir",
    }  # fmt: skip
    assert json.loads(whole["results.json"]) == {"kept": len(read_jsonl(tmp_path / "whole" / "training.jsonl"))}
    assert (tmp_path / "whole").stat().st_mode & 0o077 == 0


def test_a_finished_run_computes_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = uninterrupted(tmp_path)
    monkeypatch.setattr(f"{__name__}.write", lambda *args: pytest.fail("generated again"))
    monkeypatch.setattr(f"{__name__}.train", lambda *args: pytest.fail("trained again"))
    pipeline(tmp_path / "whole")
    assert tree(tmp_path / "whole") == whole


def test_a_kill_at_every_point_then_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    whole, seen = uninterrupted(tmp_path)
    assert len(seen) > 100
    for number in range(1, len(seen) + 1):
        directory = tmp_path / str(number)
        child = start_child(lambda to=directory: pipeline(to), act_from(number, die))  # type: ignore[misc]
        assert exit_code(child) == -signal.SIGKILL
        pipeline(directory)
        assert tree(directory) == whole, f"killed before {seen[number - 1]!r}"


@pytest.mark.parametrize("once", [True, False])
def test_a_full_disk_at_every_point_then_the_same_command_gives_the_same_bytes(tmp_path: Path, once: bool) -> None:
    whole, seen = uninterrupted(tmp_path)
    for number in range(1, len(seen) + 1):
        directory = tmp_path / str(number)
        files.failpoint = act_from(number, run_out_of_space, once=once)
        with pytest.raises(RunError, match="No space left on device"):
            pipeline(directory)
        files.failpoint = files._pass
        pipeline(directory)
        assert tree(directory) == whole, f"full before {seen[number - 1]!r}"


def test_fifty_kills_at_random_times_in_one_run_after_another(tmp_path: Path) -> None:
    whole, seen = uninterrupted(tmp_path)
    chance, killed, finished, runs = random.Random(0), 0, 0, 0
    directory = tmp_path / "0"
    while killed < 50:
        child = start_child(lambda to=directory: pipeline(to), lambda operation: time.sleep(0.0005))  # type: ignore[misc]
        time.sleep(chance.uniform(0.0, 0.0008 * len(seen)))
        os.kill(child, signal.SIGKILL)
        if exit_code(child) == 0:
            finished += 1
            assert tree(directory) == whole
            runs += 1
            directory = tmp_path / str(runs)
        else:
            killed += 1
    pipeline(directory)
    assert tree(directory) == whole
    assert finished > 0


def test_a_second_process_is_refused_at_once_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib, test_run as t\n"
        "with t.open_run(pathlib.Path(sys.argv[1]), t.SETTINGS):\n"
        "    sys.stdout.write('open\\n'); sys.stdout.flush(); time.sleep(60)"
    )
    here = Path(__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        began = time.monotonic()
        with pytest.raises(RunError) as caught:
            pipeline(tmp_path / "run")
        assert time.monotonic() - began < 1
        assert f"run: in use by process {first.pid} since 20" in str(caught.value)
        assert read_manifest(tmp_path / "run")["identity"] == SETTINGS["identity"]
        first.kill()
    pipeline(tmp_path / "run")


def changed(**identity: object) -> dict[str, Any]:
    return {**SETTINGS, "identity": {**SETTINGS["identity"], **identity}}


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        (changed(seed=1), "seed: 0 -> 1"),
        (
            changed(recipe={"train": {"epochs": 5, "rate": 0.1}}, task={"name": "trec", "labels": ["a", "c"]}),
            'task.labels.1: "b" -> "c", recipe.train.epochs: 3 -> 5',
        ),
        (changed(task={"name": "trec", "labels": ["a"]}), "task.labels: 2 items -> 1 items"),
        (changed(model={"name": "m"}), 'model: absent -> {"name": "m"}'),
        (
            changed(recipe={}, seed="x" * 80, model=1, task={"name": "ag"}),
            'task.name: "trec" -> "ag", task.labels: 2 items -> absent, '
            'recipe.train: {"epochs": 3, "rate": 0.1} -> absent, and 2 more',
        ),
    ],
)
def test_another_run_is_refused_and_the_difference_named(
    tmp_path: Path, settings: dict[str, Any], difference: str
) -> None:
    pipeline(tmp_path / "run")
    before = tree(tmp_path / "run")
    with pytest.raises(RunError) as caught, open_run(tmp_path / "run", settings):
        pytest.fail("opened")
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: holds a run with other settings ({difference}). Use another directory, "
        "or pass --force to start anew; the old run is then kept below it as old-<n>"
    )
    assert tree(tmp_path / "run") == before


def test_a_new_environment_is_no_new_run(tmp_path: Path) -> None:
    pipeline(tmp_path / "run")
    with open_run(tmp_path / "run", {**SETTINGS, "environment": {"torch": "2.14"}}) as run:
        assert run.manifest == {"format": 1, **SETTINGS}
    assert read_manifest(tmp_path / "run")["environment"]["torch"] == "2.13"


def test_force_keeps_the_old_run_below_and_resumes_its_own(tmp_path: Path) -> None:
    pipeline(tmp_path / "run")
    first = tree(tmp_path / "run")
    pipeline(tmp_path / "run", changed(seed=1), force=True)
    assert tree(tmp_path / "run" / "old-1") == first
    pipeline(tmp_path / "fresh", changed(seed=1))
    once = tree(tmp_path / "run")
    assert {name: data for name, data in once.items() if not name.startswith("old-1")} == tree(tmp_path / "fresh")
    pipeline(tmp_path / "run", changed(seed=1), force=True)
    assert tree(tmp_path / "run") == once
    pipeline(tmp_path / "run", SETTINGS, force=True)
    assert tree(tmp_path / "run" / "old-2") == tree(tmp_path / "fresh")
    assert tree(tmp_path / "run" / "old-1") == first


def test_a_kill_at_every_point_of_force_loses_nothing(tmp_path: Path) -> None:
    pipeline(tmp_path / "whole")
    first = tree(tmp_path / "whole")
    seen = operations(lambda: pipeline(tmp_path / "whole", changed(seed=1), force=True))
    whole = tree(tmp_path / "whole")
    for number in range(1, seen.index("replace old-1") + 8):
        directory = tmp_path / str(number)
        pipeline(directory)

        def again(to: Path = directory) -> None:
            pipeline(to, changed(seed=1), force=True)

        assert exit_code(start_child(again, act_from(number, die))) == -signal.SIGKILL
        again()
        assert tree(directory) == whole
        assert tree(directory / "old-1") == first


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(RunError) as caught:
            pipeline(tmp_path, force=force)
        assert str(caught.value) == (
            f"{tmp_path}: not a run directory: it has thesis.tex but no manifest.json. Give a new or empty directory"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RunError, match="Not a directory"):
        pipeline(tmp_path / "thesis.tex")


def test_a_damaged_manifest_is_named_and_force_moves_it_away(tmp_path: Path) -> None:
    pipeline(tmp_path / "run")
    for damage in (b'{"identity": ', b'{"format": 1, "identity": [], "environment": {}}', b"\0\0\0"):
        (tmp_path / "run" / "manifest.json").write_bytes(damage)
        with pytest.raises(RunError) as caught:
            pipeline(tmp_path / "run")
        assert str(caught.value) == (
            f"{tmp_path / 'run' / 'manifest.json'}: damaged. Give another directory, or make this one anew with --force"
        )
    pipeline(tmp_path / "run", force=True)
    assert (tmp_path / "run" / "old-1" / "manifest.json").read_bytes() == b"\0\0\0"


@pytest.mark.parametrize(
    "manifest",
    [
        '{"name": "Tab counter", "version": "1.0", "manifest_version": 3}',
        '{"format": 1, "identity": {}}',
        "[]",
        '{"name": "Tab counter", // the comments that browsers allow\n "manifest_version": 3}',
        "",
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_manifest_of_something_else_is_left_alone(tmp_path: Path, manifest: str, force: bool) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.js").write_text("years of work")
    (tmp_path / "manifest.json").write_text(manifest)
    before = tree(tmp_path)
    with pytest.raises(RunError) as caught:
        pipeline(tmp_path, force=force)
    assert str(caught.value) == (
        f"{tmp_path}: not a run directory: its manifest.json is not of a run. Give a new or empty directory"
    )
    assert tree(tmp_path) == before
    assert not list(tmp_path.glob(".handful*"))
    with pytest.raises(RunError, match=r"its manifest.json is not of a run. Give the directory of a run"):
        read_manifest(tmp_path)


def test_reading_without_a_run_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none: there is no such directory\. Give the directory of a run"):
        read_manifest(tmp_path / "none")
    with pytest.raises(RunError, match=r"not a run directory: no manifest\.json"):
        read_manifest(tmp_path)


def test_a_step_is_computed_once_per_inputs_and_read_back_always(tmp_path: Path) -> None:
    calls = []

    def work() -> list[dict[str, Any]]:
        calls.append(1)
        return [TrainingExample("t", "l", "real", label_probabilities=(0.1 + 0.2, 0.7)).to_row()]

    with open_run(tmp_path / "run", SETTINGS) as run:
        rows = run.step("s", [Example("t", "l")], work)
        assert rows == run.step("s", [{"text": "t", "label": "l"}], work)
        assert rows[0]["label_probabilities"] == [0.30000000000000004, 0.7]
        assert len(calls) == 1
        run.step("s", [Example("t", "m")], work)
        run.step("z", [Example("t", "l")], work)
        assert len(calls) == 3
        assert run.step("empty", None, lambda: []) == run.step("empty", None, lambda: pytest.fail("again")) == []
        with pytest.raises(ValueError, match="not JSON compliant"):
            run.step("nan", None, lambda: [{"p": float("nan")}])
        with pytest.raises(ValueError, match="not a plain name"):
            run.step("../s", None, work)


def _flip(data: bytes) -> bytes:
    return data[:3] + bytes([data[3] ^ 1]) + data[4:]


@pytest.mark.parametrize(
    "harm",
    [
        _flip,
        lambda data: data[:-1],
        lambda data: data[: data.rfind(b"\n", 0, -1) + 1],
        lambda data: data.split(b"\n", 1)[1],
        lambda data: data + b"{}\n",
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: b'[1]\n{"sha256": "%s", "rows": 1}\n' % hashlib.sha256(b"[1]\n").hexdigest().encode(),
    ],
)
def test_a_damaged_step_is_set_aside_and_made_again(
    tmp_path: Path, harm: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    pipeline(tmp_path / "run")
    whole = tree(tmp_path / "run")
    path = next((tmp_path / "run" / "steps").glob("filter-*"))
    damaged = harm(path.read_bytes())
    path.write_bytes(damaged)
    pipeline(tmp_path / "run")
    aside = f"steps/{path.name}.damaged-1"
    assert tree(tmp_path / "run") == {**whole, aside: damaged}
    assert f"{path}: damaged; renamed to {path.name}.damaged-1 and made again" in caplog.messages


def test_a_changed_adapter_is_set_aside_and_one_of_other_inputs_replaced(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", SETTINGS) as run:
        assert run.adapter([1], lambda: {"w": b"1"}) == run.adapter_dir == tmp_path / "run" / "adapter"
        run.adapter([1], lambda: pytest.fail("again"))
        run.adapter([2], lambda: {"w": b"2"})
        assert (run.adapter_dir / "w").read_bytes() == b"2"
        run.adapter([1], lambda: {"w": b"1"})
        assert (run.adapter_dir / "w").read_bytes() == b"1"
        for changed_by_hand in (b"3", b"4"):
            (run.adapter_dir / "w").write_bytes(changed_by_hand)
            run.adapter([1], lambda: {"w": b"1"})
            assert (run.adapter_dir / "w").read_bytes() == b"1"
        assert (tmp_path / "run" / "adapter.damaged-1" / "w").read_bytes() == b"3"
        assert (tmp_path / "run" / "adapter.damaged-2" / "w").read_bytes() == b"4"


def test_asking_for_the_adapter_changes_nothing(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", SETTINGS) as run:
        run.adapter([1], lambda: {"w": b"1"})
        assert run.has_adapter([1])
        assert not run.has_adapter([2])
        made_from = next((tmp_path / "run" / "steps").glob("adapter_dir-*"))
        made_from.write_bytes(b"torn")
        before = tree(tmp_path / "run")
        assert operations(lambda: run.has_adapter([1])) == []
        assert not run.has_adapter([1])
        assert tree(tmp_path / "run") == before
        run.adapter([1], lambda: {"w": b"1"})
        assert run.has_adapter([1])


def test_checkpoints_fall_back_to_the_one_before(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", SETTINGS) as run:
        steps = tmp_path / "run" / "steps"
        assert run.load_checkpoint("train") is None
        for state in (b"1", b"2", b"3"):
            run.save_checkpoint("train", state)
        run.save_checkpoint("train-checkpoint", b"another")
        assert sorted(path.name for path in steps.glob("train-checkpoint-0*")) == [
            "train-checkpoint-00000002.bin",
            "train-checkpoint-00000003.bin",
        ]
        assert run.load_checkpoint("train") == b"3"
        os.truncate(steps / "train-checkpoint-00000003.bin", 32)
        assert run.load_checkpoint("train") == b"2"
        run.save_checkpoint("train", b"3b")
        os.truncate(steps / "train-checkpoint-00000003.bin", 5)
        run.save_checkpoint("train", b"4")  # the torn one is not what is kept in reserve
        os.truncate(steps / "train-checkpoint-00000004.bin", 0)
        assert run.load_checkpoint("train") == b"2"
        os.truncate(steps / "train-checkpoint-00000002.bin", 0)
        assert run.load_checkpoint("train") is None
        run.save_checkpoint("train", b"")
        assert run.load_checkpoint("train") == b""
        run.clear_checkpoints("train")
        assert run.load_checkpoint("train") is None
        assert run.load_checkpoint("train-checkpoint") == b"another"


@pytest.mark.parametrize(
    "name",
    ["manifest.json", "steps/x", "adapter/x", "old-1/x", "../x", "/x", "a//b", ".handful.lock", ""],
)
def test_the_runs_own_files_cannot_be_published(tmp_path: Path, name: str) -> None:
    with open_run(tmp_path / "run", SETTINGS) as run, pytest.raises(ValueError, match="not a name to publish"):
        run.publish_file(name, b"")


def test_publishing_makes_folders_and_leaves_equal_bytes_alone(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", SETTINGS) as run:
        path = run.publish("predictions/test", [{"a": 1}])
        assert path.read_bytes() == b'{"a": 1}\n'
        assert operations(lambda: run.publish("predictions/test", [{"a": 1}])) == []
        assert "replace test.jsonl" in operations(lambda: run.publish("predictions/test", [{"a": 2}]))
        assert run.publish_json("results", {"b": 1, "a": "é"}).read_text("utf-8") == '{\n  "b": 1,\n  "a": "é"\n}\n'


def test_an_error_inside_the_run_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError), open_run(tmp_path / "run", SETTINGS):
        raise KeyError("a bug in a stage")
    pipeline(tmp_path / "run")


def test_a_strangers_links_lead_nowhere(tmp_path: Path) -> None:
    """A run directory may come from anyone; what we write in it must stay in it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".bashrc").write_text("mine")
    run = home / "Downloads" / "run"
    pipeline(run)
    (run / ".bashrc").write_text("theirs")
    (run / ".handful-moving").symlink_to("../..")
    with pytest.raises(RunError, match=r"\.handful-moving: is a link"):
        pipeline(run)
    assert (home / ".bashrc").read_text() == "mine"
    (run / ".handful-moving").unlink()
    (run / "..handful.lock.json.handful-tmp").symlink_to(home / ".bashrc")
    (run / ".results.json.handful-tmp").symlink_to(home / ".bashrc")
    (run / "results.json").unlink()
    pipeline(run)
    assert (home / ".bashrc").read_text() == "mine"
    assert (run / "results.json").is_file()


@pytest.mark.parametrize("name", ["steps", "predictions", "runs"])
def test_a_run_keeps_everything_in_its_own_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    pipeline(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / name, ignore_errors=True)
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=f"{name}: is a link"):
        pipeline(tmp_path / "run")
    assert not list((tmp_path / "elsewhere").iterdir())
