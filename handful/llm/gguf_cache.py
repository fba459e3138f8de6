"""De-quantised GGUF models, kept as safetensors so that a model loads in a second instead of half a minute.

An entry carries the checksums of its files; one that is damaged or half written is made again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import struct
import sys
import tempfile
from pathlib import Path

import torch
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer

from handful.errors import ModelError
from handful.llm.sources import file_hash, not_loadable

_CACHE_LAYOUT = 1
"""Raised when what is written into a cache entry changes; older entries are then not looked at."""
_ROPE_FACTORS = "rope_freqs.weight"
"""Llama 3.1 and later: what llama.cpp divides the rotary frequencies by."""


_Stamp = tuple[tuple[str, int, int], ...]
_verified: set[tuple[Path, _Stamp]] = set()


def cache_folder() -> Path:
    """Return where de-quantised models are kept: `HANDFUL_CACHE`, else the user's cache directory."""
    chosen = os.environ.get("HANDFUL_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "handful"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "handful"


def dequantised(gguf: Path) -> Path:
    """Return the cache entry of a GGUF file, made (anew) if it is missing or does not verify."""
    entry = cache_folder() / f"{gguf.stem}-{file_hash(gguf)[:16]}-v{_CACHE_LAYOUT}"
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        if not _is_known_whole(entry):
            # Reading needs no lock: nobody waits for a process that makes another entry, or hangs.
            with FileLock(f"{entry}.lock"):
                if not _verifies(entry):
                    _dequantise(gguf, entry)
            _verified.add((entry, _sizes_and_times(entry)))
    except OSError as error:
        raise ModelError(
            f"cannot keep the de-quantised model in {entry.parent}: {error.strerror or error}",
            mend="Free about 600 MB there, or set HANDFUL_CACHE to a folder with room.",
        ) from error
    return entry


def _dequantise(gguf: Path, entry: Path) -> None:
    _check_rope(gguf)
    partial = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        try:
            # Its progress bar ignores the library's own switch.
            with contextlib.redirect_stderr(io.StringIO()):
                options = {"gguf_file": gguf.name, "trust_remote_code": False}
                tokenizer = AutoTokenizer.from_pretrained(gguf.parent, **options)
                model = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **options)
        except (ValueError, KeyError, RuntimeError, IndexError, struct.error) as error:
            raise not_loadable(str(gguf), error) from error
        # The weights are plain floats now, but transformers refuses to save a model that was quantised.
        del model.config.quantization_config
        model.hf_quantizer, model.is_quantized = None, False
        with contextlib.redirect_stderr(io.StringIO()):
            model.save_pretrained(partial)
            tokenizer.save_pretrained(partial)
        sums = {path.name: file_hash(path) for path in sorted(partial.iterdir())}
        (partial / "sums.json").write_text(json.dumps(sums))
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_rope(gguf: Path) -> None:
    """Refuse a file that stretches its rotary positions: transformers leaves that tensor out, and answers are off."""
    from gguf import GGUFReader  # what transformers reads such files with

    try:
        names = {tensor.name for tensor in GGUFReader(gguf).tensors}
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise not_loadable(str(gguf), error) from error
    if _ROPE_FACTORS in names:
        mend = "Give the same model with safetensors (a hub id or a directory)."
        raise ModelError("the file scales its rotary positions, which is not read", where=str(gguf), mend=mend)


def _verifies(entry: Path) -> bool:
    try:
        sums: dict[str, str] = json.loads((entry / "sums.json").read_text())
        return bool(sums) and all(file_hash(entry / name) == digest for name, digest in sums.items())
    except (OSError, ValueError, AttributeError):  # AttributeError: JSON, but no mapping
        return False


def _is_known_whole(entry: Path) -> bool:
    """Hashing half a gigabyte takes longer than loading it: once a process, unless the files change."""
    stamp = (entry, _sizes_and_times(entry))
    if stamp not in _verified and _verifies(entry):
        _verified.add(stamp)
    return stamp in _verified


def _sizes_and_times(entry: Path) -> _Stamp:
    files = sorted(entry.iterdir()) if entry.is_dir() else []
    return tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files)
