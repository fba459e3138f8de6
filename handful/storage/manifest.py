"""The manifest of a run: which run a directory holds, and what to do if it is another one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from handful.errors import RunError
from handful.storage import files
from handful.storage.directories import recover_directory
from handful.storage.jsonl import decode, encode

MANIFEST = "manifest.json"
STEPS = "steps"
"""The folder of what stages have finished."""
LOCK = ".handful.lock"
OLD = re.compile(r"old-\d+")
_MOVING = ".handful-moving"
_FORMAT = 1
_ANEW = "Give another directory, or make this one anew with --force"
_ABSENT = object()


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read the manifest of a run, without taking its lock.

    Returns:
        A mapping with the keys `format`, `identity` and `environment`.

    Raises:
        RunError: The directory is missing, not a run directory, or its manifest is damaged.
    """
    where = str(directory)
    if not directory.is_dir():
        raise RunError("there is no such directory", where=where, mend="Give the directory of a run")
    if not (directory / MANIFEST).exists():
        raise RunError(f"not a run directory: no {MANIFEST}", where=where, mend="Give the directory of a run")
    manifest = _decoded(directory, "Give the directory of a run")
    if manifest is None or not isinstance(manifest["identity"], dict):
        raise RunError("damaged", where=str(directory / MANIFEST), mend=_ANEW)
    if manifest["format"] != _FORMAT:
        message = f"a run of another version of handful (format {manifest['format']!r}, this one reads {_FORMAT})"
        raise RunError(message, where=where, mend=_ANEW)
    return manifest


def _decoded(directory: Path, mend: str) -> dict[str, Any] | None:
    """Return what stands in the manifest; None if it is no JSON, but the steps of a run stand beside it.

    Raises:
        RunError: It is that of something else, such as a browser extension, or cannot be read.
    """
    with files.explained(directory / MANIFEST):
        data = files.read_bytes(directory / MANIFEST)
    try:
        manifest = decode(data)
    except ValueError:
        manifest = None
    if isinstance(manifest, dict) and manifest.keys() >= {"format", "identity", "environment"}:
        return manifest
    if manifest is None and (directory / STEPS).is_dir():
        return None
    raise RunError(f"not a run directory: its {MANIFEST} is not of a run", where=str(directory), mend=mend)


def refuse_foreign(directory: Path) -> None:
    """Check that a directory is missing, empty, or of a run, before anything is written there.

    Raises:
        RunError: It holds something else, or cannot be read.
    """
    mend = "Give a new or empty directory"
    with files.explained(directory):
        refuse_links(directory, _MOVING)
        if not directory.exists() or (directory / _MOVING).exists():
            return
        if (directory / MANIFEST).exists():
            _decoded(directory, mend)
            return
        foreign = sorted(path.name for path in _contents(directory))
    if foreign:
        message = f"not a run directory: it has {foreign[0]} but no {MANIFEST}"
        raise RunError(message, where=str(directory), mend=mend)


def refuse_links(directory: Path, *names: str) -> None:
    """Check that none of these is a link: what is written or moved there would go where a stranger's run points.

    Raises:
        RunError: One is.
    """
    for name in names:
        if (directory / name).is_symlink():
            mend = "Remove the link; a run keeps everything in its own directory"
            raise RunError("is a link", where=str(directory / name), mend=mend)


def settle_manifest(directory: Path, manifest: Mapping[str, Any], *, force: bool) -> dict[str, Any]:
    """Write the manifest of a new run, or check that of the run which is there; `open_run` describes both.

    Returns:
        The manifest on disk.

    Raises:
        RunError: The directory holds another run and `force` is not given, or the disk fails.
    """
    wanted = {"format": _FORMAT, "identity": manifest["identity"], "environment": manifest["environment"]}
    data = encode(wanted, indent=2) + b"\n"
    if not (directory / MANIFEST).exists():
        files.write_atomic(directory / MANIFEST, data)
        return read_manifest(directory)
    try:
        stored = read_manifest(directory)
        check_identity(directory, stored, wanted["identity"])
    except RunError:
        if not force:
            raise
        move_away(directory)
        files.write_atomic(directory / MANIFEST, data)
        return read_manifest(directory)
    return stored


def check_identity(directory: Path, stored: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Check that a manifest is of the run with this identity.

    Raises:
        RunError: It is of another one; names what differs.
    """
    changed = list(_differences(stored["identity"], json.loads(encode(identity))))
    if changed:
        more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise RunError(
            f"holds a run with other settings ({', '.join(changed[:3])}{more})",
            where=str(directory),
            mend="Use another directory, or pass --force to start anew; the old run is then kept below it as old-<n>",
        )


def _differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{place}.{key}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, f"{place}.{index}")
    elif old != new:
        yield f"{place}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    if isinstance(value, list):
        return f"{len(value)} items"
    text = encode(value).decode()
    return text if len(text) <= 60 else f"{text[:59]}…"


def _contents(directory: Path) -> list[Path]:
    def ours(name: str) -> bool:
        return name.startswith(LOCK) or name == _MOVING or name.endswith(files.TEMPORARY) or bool(OLD.fullmatch(name))

    return [path for path in directory.iterdir() if not ours(path.name)]


def finish_moving(directory: Path) -> None:
    """Finish moving an old run away if that was killed.

    Raises:
        RunError: The disk does not let us.
    """
    if (directory / _MOVING).exists():
        move_away(directory)


def move_away(directory: Path) -> None:
    """Move the run in a directory to `old-<n>` below it.

    The parts go to a directory of a fixed name first: a kill half-way cannot spread them over two.

    Raises:
        RunError: The disk does not let us.
    """
    moving = directory / _MOVING
    recover_directory(directory / "adapter")
    files.make_directory(moving)
    with files.explained(directory, 0):
        for path in sorted(_contents(directory)):
            files.rename_synced(path, moving / path.name)
        taken = [int(path.name[4:]) for path in directory.iterdir() if OLD.fullmatch(path.name)]
        files.sync_directory(directory)
        files.rename_synced(moving, directory / f"old-{max(taken, default=0) + 1}")
