import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from handful.errors import RunError
from handful.storage import files
from handful.storage.outputs import atomic_lines, stands_beside

HEADER = b"id,label\n"
ROWS = [f"{number},label {number % 3}\n".encode() for number in range(10)]
WHOLE = HEADER + b"".join(ROWS)


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    yield
    files.failpoint = files._pass


def predict(path: Path, *, anew: bool = False, identity: str = "input 1", chunk: int = 3) -> int:
    """Write ROWS in chunks as a prediction command does; return how many rows were computed."""
    with atomic_lines(path, identity, header=HEADER, anew=anew) as writer:
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


def refused(out: Path, **options: Any) -> str:
    """The error of a prediction that must leave every file as it is, without the folder of the test."""
    before = {path.name: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}
    with pytest.raises(RunError) as caught:
        predict(out, **options)
    after = {path.name: path.read_bytes() for path in out.parent.iterdir() if path.is_file()}
    assert after == {"out.csv.lock": b"", **before}
    return str(caught.value).replace(f"{out.parent}/", "")


MEND = "Name another file with -o, or begin anew with --force."


def test_rows_of_another_identity_are_kept_until_it_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    interrupt(out, 6)
    assert refused(out, identity="input 2") == (
        "out.csv.partial: the input's name, the classifier or an option has changed since these rows were written. "
        f"{MEND}"
    )
    assert predict(out, identity="input 1") == 4
    interrupt(out, 6)
    assert predict(out, identity="input 2", anew=True) == 10
    assert out.read_bytes() == WHOLE


def test_what_waits_without_a_row_is_of_no_use_to_anyone(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    interrupt(out, 0)
    assert predict(out, identity="input 2") == 10
    assert out.read_bytes() == WHOLE


@pytest.mark.parametrize("harm", ["carriage returns", "one byte", "short", "a fifo"])
def test_a_partial_file_that_was_changed_is_not_gone_on_with(tmp_path: Path, harm: str) -> None:
    out, partial = tmp_path / "out.csv", tmp_path / "out.csv.partial"
    interrupt(out, 6)
    written = partial.read_bytes()
    if harm == "carriage returns":
        partial.write_bytes(written.replace(b"\n", b"\r\n"))
    elif harm == "one byte":
        partial.write_bytes(written.replace(b"label 1", b"label 2", 1))
    elif harm == "short":
        os.truncate(partial, 20)
    else:
        partial.unlink()
        os.mkfifo(partial)
    said = "not left by an unfinished prediction" if harm == "a fifo" else "changed since its rows were written"
    assert refused(out) == f"out.csv.partial: this was {said}. {MEND}"
    assert predict(out, anew=True) == 10
    assert out.read_bytes() == WHOLE


def test_where_the_partial_file_is_gone_all_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    for identity, older in (("input 1", b"another"), ("input 1", WHOLE + b"10,label 1\n"), ("input 2", WHOLE)):
        interrupt(out, 10)
        (tmp_path / "out.csv.partial").unlink()
        out.write_bytes(older)
        assert predict(out, identity=identity) == 10
        assert out.read_bytes() == WHOLE
        out.unlink()


def test_rows_that_came_after_a_kill_behind_the_last_rename_are_added(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    interrupt(out, 6)
    (tmp_path / "out.csv.partial").rename(out)
    assert predict(out) == 4
    assert out.read_bytes() == WHOLE
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"rows": 6}', b'{"identity": "x", "rows": "many"}'])
def test_a_sidecar_that_is_none_of_ours_is_kept(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "out.csv"
    interrupt(out, 6)
    (tmp_path / "out.csv.partial.json").write_bytes(content)
    assert refused(out) == f"out.csv.partial.json: this does not say how far an unfinished prediction is. {MEND}"
    assert predict(out, anew=True) == 10
    assert out.read_bytes() == WHOLE


def test_a_partial_file_that_is_none_of_ours_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    (tmp_path / "out.csv.partial").write_text("a person's own")
    assert refused(out) == f"out.csv.partial: this was not left by an unfinished prediction. {MEND}"


@pytest.mark.parametrize("name", ["out.csv.lock", "out.csv.lock.json"])
@pytest.mark.parametrize("anew", [False, True])
def test_a_lock_that_is_none_of_ours_is_kept(tmp_path: Path, name: str, anew: bool) -> None:
    out = tmp_path / "out.csv"
    (tmp_path / name).write_text("{}")
    with pytest.raises(RunError) as caught:
        predict(out, anew=anew)
    assert str(caught.value) == (
        f"{tmp_path / name}: this is no lock of handful's, and its name is needed while predictions are written. "
        "Move it elsewhere, or name another output"
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "{}")]


def test_a_lock_with_content_that_a_kill_left_is_ours(tmp_path: Path) -> None:
    # As on a file system without locks, where the lock itself says who holds it.
    out = tmp_path / "out.csv"
    (tmp_path / "out.csv.lock").write_text("123\nhost\n")
    (tmp_path / "out.csv.lock.json").write_text('{"pid": 123, "host": "host", "since": "2026-11-28"}')
    assert predict(out) == 10
    assert list(tmp_path.iterdir()) == [out]


def test_every_file_that_stands_beside_an_output_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    seen: set[Path] = set()

    def look(operation: str) -> None:
        seen.update(path for path in tmp_path.iterdir() if path != out)

    files.failpoint = look
    interrupt(out, 6)
    predict(out)
    assert seen == {*stands_beside(out)}


def test_two_writers_of_one_file_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with atomic_lines(out, "input 1"), pytest.raises(RunError, match=rf"in use by process {os.getpid()} since"):
        predict(out)
    assert out.read_bytes() == b""
