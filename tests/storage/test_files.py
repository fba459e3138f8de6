import errno
import hashlib
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from handful.errors import AdapterError, RunError
from handful.storage import files
from handful.storage.directories import recover_directory, verify_directory, write_directory_atomic

OLD = {"adapter_config.json": b"{}", "weights.safetensors": b"old" * 10}
NEW = {"adapter_config.json": b'{"r": 8}', "weights.safetensors": b"new" * 20, "card.md": b"# card"}


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    yield
    files.failpoint = files._pass


def fail_at(number: int, error: BaseException) -> Callable[[str], None]:
    seen = []

    def failpoint(operation: str) -> None:
        seen.append(operation)
        if len(seen) == number:
            raise error

    return failpoint


def operations(work: Callable[[], object]) -> list[str]:
    seen: list[str] = []
    files.failpoint = seen.append
    work()
    files.failpoint = files._pass
    return seen


def killed_at(number: int, work: Callable[[], object]) -> None:
    """Run `work` in a child that is killed for real at its `number`-th change on disk."""
    left = iter(range(1, 10_000))

    def failpoint(operation: str) -> None:
        if next(left) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            files.failpoint = failpoint
            work()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def contents(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in sorted(path.iterdir())}


def test_write_atomic_syncs_before_it_replaces_and_the_directory_after(tmp_path: Path) -> None:
    seen = operations(lambda: files.write_atomic(tmp_path / "a", b"1", b"2"))
    temporary = ".a.handful-tmp"
    assert seen == [
        f"open {temporary}",
        f"write {temporary}",
        f"write {temporary}",
        f"fsync {temporary}",
        "replace a",
        f"fsync {tmp_path.name}/",
    ]
    assert contents(tmp_path) == {"a": b"12"}


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, number: int, code: int) -> None:
    (tmp_path / "a").write_bytes(b"old")
    files.failpoint = fail_at(number, OSError(code, os.strerror(code)))
    with pytest.raises(RunError) as caught:
        files.write_atomic(tmp_path / "a", b"new", b"er")
    assert contents(tmp_path) == {"a": b"old"}
    assert os.strerror(code) in caught.value.message
    assert caught.value.mend == files._MENDS[code]


def test_the_disk_full_message_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    files.failpoint = fail_at(2, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(RunError) as caught:
        files.write_atomic(tmp_path / "results.json", b"x" * 12345)
    assert str(caught.value) == (
        f"{tmp_path / 'results.json'}: cannot be written: No space left on device "
        "(12,345 bytes needed, 4,096 free). Free that space, then give the same command again: "
        "it goes on where it stopped"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_is_really_full_is_explained() -> None:
    with pytest.raises(RunError, match=r"No space left on device \(3 bytes needed"), files.explained(Path("out"), 3):
        Path("/dev/full").write_bytes(b"abc")


def test_a_missing_parent_is_explained(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file or directory"):
        files.write_atomic(tmp_path / "no" / "file", b"")


def test_a_directory_appears_with_sums_that_sha256sum_can_check(tmp_path: Path) -> None:
    write_directory_atomic(tmp_path / "adapter", NEW)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(NEW.items()))
    assert contents(tmp_path / "adapter") == {**NEW, "SHA256SUMS": sums.encode()}
    verify_directory(tmp_path / "adapter")


def replacing(tmp_path: Path) -> Callable[[], None]:
    write_directory_atomic(tmp_path / "adapter", OLD)
    return lambda: write_directory_atomic(tmp_path / "adapter", NEW)


def test_replacing_a_directory_survives_a_kill_at_every_point(tmp_path: Path) -> None:
    (tmp_path / "measure").mkdir()
    count = len(operations(replacing(tmp_path / "measure")))
    assert count > 15
    found = []
    for number in range(1, count + 1):
        root = tmp_path / str(number)
        root.mkdir()
        killed_at(number, replacing(root))
        recover_directory(root / "adapter")
        verify_directory(root / "adapter")
        found.append((root / "adapter" / "weights.safetensors").read_bytes())
        write_directory_atomic(root / "adapter", NEW)
        assert contents(root / "adapter").keys() == {*NEW, "SHA256SUMS"}
        assert [path.name for path in root.iterdir()] == ["adapter"]
    assert set(found) == {OLD["weights.safetensors"], NEW["weights.safetensors"]}
    assert found == sorted(found, key=lambda data: data == NEW["weights.safetensors"])


def test_replacing_a_directory_survives_a_full_disk_at_every_point(tmp_path: Path) -> None:
    (tmp_path / "measure").mkdir()
    for number in range(1, len(operations(replacing(tmp_path / "measure"))) + 1):
        root = tmp_path / str(number)
        root.mkdir()
        work = replacing(root)
        files.failpoint = fail_at(number, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(RunError) as caught:
            work()
        assert caught.value.where.startswith(str(root))
        files.failpoint = files._pass
        verify_directory(root / "adapter")
        assert not list(root.glob("*.handful-tmp"))


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", "SHA256SUMS", "a\nb"])
def test_only_plain_names_go_into_a_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain file name"):
        write_directory_atomic(tmp_path / "adapter", {name: b""})
    assert list(tmp_path.iterdir()) == []


def _flip(path: Path) -> None:
    data = bytearray((path / "weights.safetensors").read_bytes())
    data[5] ^= 1
    (path / "weights.safetensors").write_bytes(bytes(data))


def _link(path: Path) -> None:
    (path / "weights.safetensors").rename(path.parent / "elsewhere")
    (path / "weights.safetensors").symlink_to(path.parent / "elsewhere")


def _link_to_other_bytes(path: Path) -> None:
    _link(path)
    (path.parent / "elsewhere").write_bytes(b"other")


def _link_to_nothing(path: Path) -> None:
    _link(path)
    (path.parent / "elsewhere").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_flip, "weights.safetensors was changed"),
        (_link_to_other_bytes, "weights.safetensors was changed"),
        (_link_to_nothing, "weights.safetensors is not a file"),
        (lambda path: (path / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda path: (path / "extra.bin").write_bytes(b""), "extra.bin does not belong to it"),
        (lambda path: (path / "sub").mkdir(), "sub is not a file"),
        (lambda path: (path / "SHA256SUMS").write_text("rubbish\n"), "SHA256SUMS is damaged"),
        (lambda path: (path / "SHA256SUMS").write_text(f"{'0' * 64}  ../x\n"), "SHA256SUMS is damaged"),
        (lambda path: (path / "SHA256SUMS").unlink(), "cannot be read: No such file or directory"),
    ],
)
def test_a_harmed_directory_is_refused(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    write_directory_atomic(tmp_path / "adapter", OLD)
    harm(tmp_path / "adapter")
    with pytest.raises(AdapterError) as caught:
        verify_directory(tmp_path / "adapter")
    assert caught.value.message == message
    assert caught.value.mend


def test_what_desktops_and_the_hub_do_to_a_directory_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "adapter"
    write_directory_atomic(path, OLD)
    (path / ".DS_Store").write_bytes(b"x")
    (path / ".git").mkdir()
    _link(path)
    verify_directory(path)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(AdapterError, match=r"notes.txt does not belong to it. Move it elsewhere"):
        verify_directory(path)


@pytest.mark.parametrize("offset", [0, 2])
def test_a_link_is_never_written_through(tmp_path: Path, offset: int) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "out.partial").symlink_to(tmp_path / "mine")
    with suppress(OSError):
        files.write_synced(tmp_path / "out.partial", [b"theirs"], offset=offset)
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_held_lock_is_refused_and_says_by_whom(tmp_path: Path) -> None:
    with (
        files.locked(tmp_path / "l", tmp_path),
        pytest.raises(RunError) as caught,
        files.locked(tmp_path / "l", tmp_path),
    ):
        pytest.fail("two hold the lock")
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}: in use by process {os.getpid()} since \d{{4}}-\S+\. "
        "Wait until it ends, or use another path",
        str(caught.value),
    )
    with files.locked(tmp_path / "l", tmp_path):
        (tmp_path / "l.json").write_text("rubbish")
        with pytest.raises(RunError, match="in use by another process"), files.locked(tmp_path / "l", tmp_path):
            pytest.fail("two hold the lock")
    with files.locked(tmp_path / "l", tmp_path):
        assert (tmp_path / "l.json").exists()
    assert not (tmp_path / "l.json").exists()
