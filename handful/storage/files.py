"""Files that are whole or not there: atomic writes, locks.

What holds after SIGKILL or a power cut: a name points to the old bytes or to all of the new ones, because the new
ones are on the disk (fsync) before the rename, and the rename is before the call returns (fsync of the directory).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from handful.errors import RunError

TEMPORARY = ".handful-tmp"
"""How the names of temporary files end."""
_AGAIN = "then give the same command again: it goes on where it stopped"
_MENDS = {
    errno.ENOSPC: f"Free that space, {_AGAIN}",
    errno.EDQUOT: f"Your disk quota is used up: free that space, {_AGAIN}",
    errno.EROFS: "The file system is mounted read-only: choose a directory elsewhere",
    errno.EACCES: "Give yourself the permission, or choose another directory",
    errno.EPERM: "Give yourself the permission, or choose another directory",
    errno.EIO: f"The disk or the connection to it fails: check it, {_AGAIN}",
}


def _pass(operation: str) -> None:
    """Do nothing at a failpoint."""


failpoint: Callable[[str], None] = _pass
"""Called before every change on disk with its name, as in "fsync results.json"; tests fail or die here."""


@contextmanager
def explained(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError of the block into a RunError that says what to do.

    Args:
        path: The file the user knows, not the temporary one.
        needed: Bytes that were to be written; None when the block only reads.

    Raises:
        RunError: Naming path, cause, bytes needed and bytes free, and the mend.
    """
    try:
        yield
    except OSError as error:
        message = f"cannot be {'read' if needed is None else 'written'}: {error.strerror or error}"
        if needed is not None:
            message += f" ({needed:,} bytes needed, {_free_bytes(path)} free)"
        mend = _MENDS.get(error.errno or 0, "Check the path, or choose another directory")
        raise RunError(message, where=str(path), mend=mend) from error


def _free_bytes(path: Path) -> str:
    for parent in path.absolute().parents:
        with suppress(OSError):
            return f"{shutil.disk_usage(parent).free:,}"
    return "unknown"


def read_bytes(path: Path) -> bytes:
    """Read a file of a directory that may be a stranger's: a pipe or device under its name might never end.

    Raises:
        OSError: It is not there, no plain file, or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return path.read_bytes()


def write_atomic(path: Path, *chunks: bytes) -> None:
    """Write a file so that at any moment it has its old bytes or all of the new ones.

    Args:
        path: The file; its directory must exist.
        chunks: Its bytes, in parts so that large ones need not be copied together.

    Raises:
        RunError: The disk is full, failing or not writable; `path` is as before and no temporary file stays.
    """
    temporary = temporary_name(path)
    with explained(path, sum(map(len, chunks))):
        try:
            write_synced(temporary, chunks)
            rename_synced(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def temporary_name(path: Path) -> Path:
    """Return the temporary file or directory of `path`.

    One fixed name is enough, since every path is written under a lock, and what a kill leaves is found again.
    """
    return path.with_name(f".{path.name}{TEMPORARY}")


def write_synced(path: Path, chunks: Iterable[bytes], *, offset: int = 0) -> None:
    """Write chunks from `offset` to the new end of the file and wait until they are on the disk.

    A link is never followed: a run directory may be a stranger's, with a link of a name that is to be written.
    """
    failpoint(f"open {path.name}")
    if not offset:
        path.unlink(missing_ok=True)
    with open(path, "r+b" if offset else "xb", opener=_without_following) as handle:
        handle.seek(offset)
        handle.truncate()
        for chunk in chunks:
            failpoint(f"write {path.name}")
            handle.write(chunk)
        handle.flush()
        failpoint(f"fsync {path.name}")
        os.fsync(handle.fileno())


def _without_following(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def rename_synced(source: Path, target: Path) -> None:
    """Rename, replacing a file of that name, and wait until the new name is on the disk."""
    failpoint(f"replace {target.name}")
    source.replace(target)
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Wait until names created, renamed or removed in a directory are on the disk."""
    failpoint(f"fsync {path.name}/")
    if os.name == "nt":  # directories cannot be opened there, and renames are journalled
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # network and FUSE file systems that have nothing to sync
            raise
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Create a directory and its parents if missing, durably; `mode` is subject to the umask.

    Raises:
        RunError: It cannot be created.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    with explained(path, 0):
        failpoint(f"mkdir {path.name}")
        path.mkdir(mode=mode, exist_ok=True)
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory; a missing one is fine."""
    with explained(path, 0):
        failpoint(f"remove {path.name}")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def sweep(directory: Path) -> None:
    """Remove the temporary files and directories a killed process left in a directory we hold the lock of."""
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name.endswith(TEMPORARY):
            remove(path)


@contextmanager
def locked(lock: Path, owned: Path) -> Iterator[None]:
    """Hold an exclusive lock that ends with this process, however it ends.

    Args:
        lock: The lock file; `holder_of` it says who holds it.
        owned: What the lock protects, for the message.

    Raises:
        RunError: Another process holds it; raised at once.
    """
    guard = FileLock(lock, thread_local=False)
    holder = holder_of(lock)
    with explained(owned, 0):
        try:
            guard.acquire(timeout=0)
        except Timeout:
            mend = "Wait until it ends, or use another path"
            raise RunError(f"in use by {_held_by(holder)}", where=str(owned), mend=mend) from None
    try:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        write_atomic(holder, json.dumps(me).encode())
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        guard.release()


def holder_of(lock: Path) -> Path:
    """Return the file beside a lock that says who holds it."""
    return lock.with_name(f"{lock.name}.json")


def _held_by(holder: Path) -> str:
    try:
        who: dict[str, Any] = json.loads(read_bytes(holder))
        elsewhere = "" if who["host"] == socket.gethostname() else f" on {who['host']}"
        return f"process {who['pid']}{elsewhere} since {who['since']}"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # it is just starting or ending
        return "another process"
