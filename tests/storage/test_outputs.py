import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from handful.errors import RunError
from handful.storage import files
from handful.storage.outputs import atomic_lines

HEADER = b"id,label\n"
ROWS = [f"{number},label {number % 3}\n".encode() for number in range(10)]
WHOLE = HEADER + b"".join(ROWS)


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    yield
    files.failpoint = files._pass


def predict(path: Path, *, resume: bool = True, identity: str = "input 1", chunk: int = 3) -> int:
    """Write ROWS in chunks as a prediction command does; return how many rows were computed."""
    with atomic_lines(path, identity, header=HEADER, resume=resume) as writer:
        first = writer.rows
        for start in range(first, len(ROWS), chunk):
            lines = ROWS[start : start + chunk]
            writer.commit(b"".join(lines), len(lines))
        return len(ROWS) - first


def count_operations(path: Path) -> int:
    seen: list[str] = []
    files.failpoint = seen.append
    predict(path)
    files.failpoint = files._pass
    path.unlink()
    return len(seen)


def at(number: int, act: Callable[[], None]) -> Callable[[str], None]:
    left = iter(range(1, 10_000))

    def failpoint(operation: str) -> None:
        if next(left) == number:
            act()

    return failpoint


def in_child(failpoint: Callable[[str], None], work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            files.failpoint = failpoint
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_file_appears_whole_and_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with atomic_lines(out, "input 1", header=HEADER) as writer:
        writer.commit(b"".join(ROWS), 10)
        assert not out.exists()
        assert (writer.rows, writer.offset) == (10, len(WHOLE))
    assert out.read_bytes() == WHOLE
    assert list(tmp_path.iterdir()) == [out]


def test_a_kill_at_every_point_then_resume_gives_the_same_bytes(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    computed = []
    for number in range(1, count_operations(out) + 1):
        exit_code = in_child(at(number, lambda: os.kill(os.getpid(), signal.SIGKILL)), lambda: predict(out))
        assert exit_code == -signal.SIGKILL
        computed.append(predict(out))
        assert out.read_bytes() == WHOLE
        assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
        out.unlink()
    # Only the rows of chunks not yet committed are computed again; the kill after the last step had lost its state.
    assert set(computed) == {10, 7, 4, 1, 0}
    assert computed[:-1] == sorted(computed[:-1], reverse=True)


def test_a_full_disk_at_every_point_then_resume_gives_the_same_bytes(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out.csv"
    for number in range(1, count_operations(out) + 1):
        files.failpoint = at(number, full)
        with pytest.raises(RunError, match="No space left on device"):
            predict(out)
        files.failpoint = files._pass
        predict(out)
        assert out.read_bytes() == WHOLE
        assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
        out.unlink()


def interrupt(out: Path, rows: int, identity: str = "input 1") -> None:
    with suppress(KeyboardInterrupt), atomic_lines(out, identity, header=HEADER) as writer:
        writer.commit(b"".join(ROWS[:rows]), rows)
        raise KeyboardInterrupt


def test_a_torn_chunk_after_the_last_commit_is_cut_off(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    for torn in (b"6,lab", b"".join(ROWS[6:]) + b"garbage"):
        interrupt(out, 6)
        with (tmp_path / "out.csv.partial").open("ab") as handle:
            handle.write(torn)
        assert predict(out) == 4
        assert out.read_bytes() == WHOLE
    interrupt(out, 10)
    with (tmp_path / "out.csv.partial").open("ab") as handle:
        handle.write(b"torn")
    assert predict(out) == 0
    assert out.read_bytes() == WHOLE


def test_a_failed_commit_can_be_repeated(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def write_then_fail(operation: str) -> None:
        if operation == "fsync out.csv.partial":
            raise OSError(errno.EIO, "Input/output error")

    with atomic_lines(out, "input 1", header=HEADER) as writer:
        files.failpoint = write_then_fail
        with pytest.raises(RunError, match="Input/output error"):
            writer.commit(ROWS[0] * 50, 50)
        files.failpoint = files._pass
        assert (writer.rows, writer.offset) == (0, len(HEADER))
        writer.commit(b"".join(ROWS), 10)
    assert out.read_bytes() == WHOLE


def test_resuming_with_another_input_is_refused_and_anew_is_allowed(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    interrupt(out, 6)
    with pytest.raises(RunError) as caught:
        predict(out, identity="input 2")
    assert str(caught.value) == (
        f"{out}.partial: the input's name, the classifier or an option has changed since these rows were written. "
        "Leave out --resume to start anew"
    )
    assert predict(out, identity="input 1") == 4
    interrupt(out, 6)
    assert predict(out, identity="input 2", resume=False) == 10
    assert out.read_bytes() == WHOLE


@pytest.mark.parametrize("harm", ["short", "gone", "sidecar"])
def test_a_harmed_partial_file_is_started_anew(tmp_path: Path, harm: str) -> None:
    out = tmp_path / "out.csv"
    interrupt(out, 6)
    out.write_bytes(b"an older result")
    partial = tmp_path / "out.csv.partial"
    if harm == "short":
        os.truncate(partial, 20)
    elif harm == "gone":
        partial.unlink()
    else:
        (tmp_path / "out.csv.partial.json").write_bytes(b"{")
    assert predict(out) == 10
    assert out.read_bytes() == WHOLE


def test_two_writers_of_one_file_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with atomic_lines(out, "input 1"), pytest.raises(RunError, match=rf"in use by process {os.getpid()} since"):
        predict(out)
    assert out.read_bytes() == b""
