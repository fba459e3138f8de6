"""The run directory: a stage is named by its inputs, computed once, and read back from disk ever after.

Killed at any point, the same calls finish the run with the same bytes: fresh and resumed runs take the same path
(every step is read from its file), and nothing that depends on the clock or on the machine goes into those files.

    manifest.json   what the run is (identity) and where it was made (environment)
    task.json       the task with its examples and test texts
    *.jsonl, ...    the published results; rewritten from the steps
    adapter/        the classifier
    steps/          outputs of the stages and checkpoints; internal
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.errors import AdapterError, RunError
from handful.storage import files
from handful.storage.directories import SUMS, recover_directory, verify_directory, write_directory_atomic
from handful.storage.jsonl import encode, encode_lines, fingerprint, read_jsonl
from handful.storage.manifest import (
    LOCK,
    MANIFEST,
    OLD,
    STEPS,
    finish_moving,
    read_manifest,
    refuse_foreign,
    refuse_links,
    settle_manifest,
)
from handful.storage.outputs import LineWriter, atomic_lines
from handful.storage.sealed import read_checkpoint, read_step, set_aside, verified_rows, write_checkpoint, write_step

__all__ = [
    "LineWriter",
    "Run",
    "atomic_lines",
    "fingerprint",
    "is_plain_name",
    "open_run",
    "read_jsonl",
    "read_manifest",
    "refuse_links",
]

_ADAPTER = "adapter"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_log = logging.getLogger(__name__)


def is_plain_name(name: str) -> bool:
    """Return whether something of a run may be called so: a file in its folder, not above it and not hidden."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Run:
    """An open run directory, locked by this process; made by `open_run`. Not for concurrent threads."""

    directory: Path
    manifest: Mapping[str, Any]
    """As on disk: the identity of this run, the environment of its first start."""

    @property
    def adapter_dir(self) -> Path:
        """Where the classifier is or will be."""
        return self.directory / _ADAPTER

    def step(self, name: str, inputs: object, work: Callable[[], Iterable[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """Return the rows of a stage, computing them only if they are not yet on disk for these inputs.

        Args:
            name: The stage, such as "generate".
            inputs: Everything the rows depend on, JSON-like or dataclasses.
            work: Computes the rows; must depend on nothing but `inputs`.

        Returns:
            The rows as read back from JSON: tuples are lists.

        Raises:
            RunError: The disk is full, failing or not writable.
            ValueError: A row holds NaN or infinity.
            TypeError: A row is not JSON-like.
        """
        path = self._internal(name, f"-{fingerprint(inputs)}.jsonl")
        rows = read_step(path)
        if rows is None:
            write_step(path, encode_lines(work(), name))
            rows = read_step(path)
        if rows is None:
            raise RunError("reads back other than it was written", where=str(path), mend="Check the disk")
        return rows

    def has_step(self, name: str, inputs: object = None) -> bool:
        """Return whether a stage of this name has been finished; without `inputs`, for whatever inputs."""
        if inputs is not None:
            return self._internal(name, f"-{fingerprint(inputs)}.jsonl").exists()
        return any(self._internal(name, "").parent.glob(f"{name}-*.jsonl"))

    def _internal(self, name: str, suffix: str) -> Path:
        if not is_plain_name(name):
            raise ValueError(f"not a plain name: {name!r}")
        return self.directory / STEPS / f"{name}{suffix}"

    def publish(self, name: str, rows: Iterable[Mapping[str, Any]]) -> Path:
        """Write `<name>.jsonl`, such as candidates or predictions/test; `publish_file` says what it raises."""
        return self.publish_file(f"{name}.jsonl", b"".join(encode_lines(rows, name)))

    def publish_json(self, name: str, value: object) -> Path:
        """Write `<name>.json`, such as results, for people to read; `publish_file` says what it raises."""
        return self.publish_file(f"{name}.json", encode(value, indent=2) + b"\n")

    def publish_file(self, name: str, data: bytes) -> Path:
        """Write a file of the run, such as report.html, atomically; one with these bytes already is left alone.

        Returns:
            Its path.

        Raises:
            RunError: The disk is full, failing or not writable.
            ValueError: The name leaves the run directory, or belongs to the run itself.
        """
        parts = name.split("/")
        taken = name == MANIFEST or parts[0] in {STEPS, _ADAPTER}
        if taken or OLD.fullmatch(parts[0]) or not all(map(is_plain_name, parts)):
            raise ValueError(f"not a name to publish: {name!r}")
        path = self.directory.joinpath(*parts)
        files.make_directory(path.parent)
        with files.explained(path):
            same = path.is_file() and path.read_bytes() == data
        if not same:
            files.write_atomic(path, data)
        return path

    def adapter(self, inputs: object, work: Callable[[], Mapping[str, bytes]]) -> Path:
        """Return the classifier directory, calling `work` for its files only if it is not there for these inputs.

        A directory that was changed by hand is renamed to `adapter.damaged-<n>`, not overwritten.

        Raises:
            RunError: The disk is full, failing or not writable.
        """
        if self.has_adapter(inputs):
            return self.adapter_dir
        if self.adapter_dir.exists():
            try:
                verify_directory(self.adapter_dir)
            except AdapterError as error:
                set_aside(self.adapter_dir, error.message)
        self.write_adapter(work())
        write_step(self._made_from(inputs), encode_lines([self._adapter_state()], "adapter"))
        return self.adapter_dir

    def has_adapter(self, inputs: object) -> bool:
        """Return whether the classifier directory is there, whole, and made from these inputs.

        Changes nothing and needs no lock, so that every process of a training may ask.
        """
        made_from = self._made_from(inputs)
        if not self.adapter_dir.exists() or not made_from.exists():
            return False
        try:
            verify_directory(self.adapter_dir)
        except AdapterError:
            return False
        return verified_rows(made_from) == [self._adapter_state()]

    def _made_from(self, inputs: object) -> Path:
        return self._internal("adapter_dir", f"-{fingerprint(inputs)}.jsonl")

    def _adapter_state(self) -> dict[str, str]:
        with files.explained(self.adapter_dir):
            return {SUMS: hashlib.sha256(files.read_bytes(self.adapter_dir / SUMS)).hexdigest()}

    def write_adapter(self, contents: Mapping[str, bytes]) -> None:
        """Replace the classifier directory at once; `write_directory_atomic` says what it raises."""
        write_directory_atomic(self.adapter_dir, contents)

    def save_checkpoint(self, key: str, data: bytes) -> None:
        """Keep the state of a stage at work, and the verified state before it; older ones go.

        Args:
            key: Names stage and inputs, such as `f"train-{fingerprint(inputs)}"`.
            data: The state.

        Raises:
            RunError: The disk is full, failing or not writable; the state before is still there.
        """
        older = self._checkpoints(key)
        newest = int(older[0].stem.rpartition("-")[2]) if older else 0
        path = self._internal(key, f"-checkpoint-{newest + 1:08d}.bin")
        write_checkpoint(path, data)
        spare = next((path for path in older if read_checkpoint(path) is not None), None)
        for old in older:
            if old != spare:
                files.remove(old)

    def load_checkpoint(self, key: str, *, tidy: bool = True) -> bytes | None:
        """Return the newest state that verifies, or None; damaged ones are removed if `tidy`.

        Raises:
            RunError: A checkpoint cannot be read.
        """
        for path in self._checkpoints(key):
            data = read_checkpoint(path)
            if data is not None:
                return data
            _log.warning("%s: damaged; going back to the one before", path)
            if tidy:
                files.remove(path)
        return None

    def clear_checkpoints(self, key: str) -> None:
        """Delete the states of a stage; call it when the output stands, also when it already stood."""
        for path in self._checkpoints(key):
            files.remove(path)

    def _checkpoints(self, key: str) -> list[Path]:
        steps = self._internal(key, "").parent
        pattern = re.compile(re.escape(key) + r"-checkpoint-\d{8}\.bin")
        with files.explained(steps):
            return sorted((path for path in steps.iterdir() if pattern.fullmatch(path.name)), reverse=True)


@contextmanager
def open_run(directory: str | Path, manifest: Mapping[str, Any], *, force: bool = False) -> Iterator[Run]:
    """Create or reopen a run directory and hold its lock.

    Args:
        directory: Missing, empty, or a run directory.
        manifest: `identity` (whatever decides the results: task, recipe, seed, model) is compared on reopening;
            `environment` (versions, time, machine) is only kept from the first start.
        force: If the directory holds a run of another identity, move it to `<directory>/old-<n>` and start anew.

    Yields:
        The run.

    Raises:
        RunError: Another process uses it, it holds another run or something else, or it cannot be written.
    """
    directory = Path(directory)
    refuse_foreign(directory)
    refuse_links(directory, STEPS, "predictions", "runs")
    files.make_directory(directory, 0o700)
    with files.locked(directory / LOCK, directory):
        finish_moving(directory)
        stored = settle_manifest(directory, manifest, force=force)
        files.make_directory(directory / STEPS)
        for folder in (directory, *directory.iterdir()):
            if not folder.is_symlink() and not OLD.fullmatch(folder.name):
                files.sweep(folder)
        recover_directory(directory / _ADAPTER)
        yield Run(directory, stored)
