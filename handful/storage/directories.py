"""Directories that appear at once and whole, with the SHA256SUMS that later prove it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from handful.errors import AdapterError, RunError
from handful.storage import files

SUMS = "SHA256SUMS"


def write_directory_atomic(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a whole directory, with the SHA256SUMS of its files, so that it appears at once.

    A directory of that name is replaced. POSIX cannot exchange two directories in one step, so the old one is
    renamed aside first; `recover_directory` mends a kill between the two renames.

    Args:
        path: The directory; its parent must exist.
        contents: Bytes by plain file name, without subdirectories.

    Raises:
        RunError: The disk is full, failing or not writable; the old directory is still or again in place.
        ValueError: A name is not a plain file name.
    """
    for name in contents:
        if name in {"", ".", "..", SUMS} or re.search(r"[/\\\x00-\x1f]", name):
            raise ValueError(f"not a plain file name: {name!r}")
    recover_directory(path)
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items()))
    everything = {**dict(sorted(contents.items())), SUMS: sums.encode()}
    temporary = files.temporary_name(path)
    with files.explained(path, sum(map(len, everything.values()))):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            files.failpoint(f"mkdir {temporary.name}")
            temporary.mkdir()
            for name, data in everything.items():
                files.write_synced(temporary / name, [data])
            files.sync_directory(temporary)
            if path.is_symlink() or path.exists():
                files.rename_synced(path, _aside(path))
            files.rename_synced(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            with suppress(OSError, RunError):
                recover_directory(path)
            raise
    files.remove(_aside(path))


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def recover_directory(path: Path) -> None:
    """Finish or undo a `write_directory_atomic` that was killed between its renames.

    Raises:
        RunError: The disk does not let us.
    """
    aside = _aside(path)
    if path.is_symlink() or path.exists():
        files.remove(aside)
    elif aside.is_symlink() or aside.exists():
        with files.explained(path, 0):
            files.rename_synced(aside, path)


def verify_directory(path: Path) -> None:
    """Check that a directory holds exactly the files of its SHA256SUMS, unchanged.

    Hidden ones beside them are let be: desktops and version control leave them. A link counts as the file it leads to,
    since the hub's cache is made of links.

    Raises:
        AdapterError: A file is missing, changed, not in the list, or not a file.
    """
    try:
        sums = _read_sums(path)
        entries = [entry for entry in os.scandir(path) if entry.name in sums or not entry.name.startswith(".")]
        found = {entry.name: entry.is_file() for entry in entries}
        wrong = [f"{name} is not a file" for name, regular in found.items() if not regular]
        wrong += [f"{name} is missing" for name in sums if name not in found]
        extra = [name for name, regular in found.items() if regular and name not in sums and name != SUMS]
        wrong += [f"{name} does not belong to it" for name in extra]
        wrong += [f"{name} was changed" for name in sums if found.get(name) and _sha256(path / name) != sums[name]]
    except OSError as error:
        raise AdapterError(
            f"cannot be read: {error.strerror}", where=str(path), mend="Give the directory of a trained classifier"
        ) from error
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        mend = "Move it elsewhere" if len(wrong) == len(extra) == 1 else "Copy it again whole, or train it again"
        raise AdapterError(", ".join(sorted(wrong)[:3]) + more, where=str(path), mend=mend)


def _read_sums(path: Path) -> dict[str, str]:
    lines = files.read_bytes(path / SUMS).decode("utf-8", errors="replace").splitlines()
    matches = [re.fullmatch(r"([0-9a-f]{64})  ([^/\\]+)", line) for line in lines]
    if not all(matches):
        raise AdapterError(f"{SUMS} is damaged", where=str(path), mend="Copy it again whole, or train it again")
    return {match[2]: match[1] for match in matches if match}


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
