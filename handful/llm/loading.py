"""Loading base models through transformers.

`trust_remote_code` is always False (left out, transformers asks on standard input) and only safetensors and GGUF are
read, so loading runs no code of the model's.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from handful.errors import ModelError
from handful.llm.engine import DeviceName, DtypeName
from handful.llm.gguf_cache import dequantised
from handful.llm.head import check_head
from handful.llm.sources import PACKAGED, Source, holds, locate, not_loadable

_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
"""Kinds of layers that are known, as transformers calls them."""


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
        config = self.model.config.get_text_config()
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
        dtype: "auto" is bfloat16 on CUDA, float16 on MPS and float32 on the CPU.
        load_in_4bit: Quantise the frozen weights (bitsandbytes, extra `handful[quant]`).
        fingerprint: What the weights must be, if known.

    Raises:
        ModelError: The model cannot be found, read or trusted, or is another one than `fingerprint` says.
    """
    tune_allocator()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    source = locate(spec)
    if fingerprint is not None and not holds(source, fingerprint):
        raise ModelError(
            f"the weights of {spec!r} are not those this was made with "
            f"(fingerprint {source.fingerprint}, expected {fingerprint})",
            mend="Give the base model it was made with, or make it anew with this one.",
        )
    torch_device = choose_device(device)
    torch_dtype = choose_dtype(dtype, torch_device)
    folder, options = _folder(source)
    tokenizer = _tokenizer(spec, folder, options)
    if load_in_4bit:
        options |= {"quantization_config": _four_bit(torch_dtype), "device_map": {"": torch_device}}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch_dtype,
            use_safetensors=True,
            attn_implementation="sdpa",
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        if "scaled_dot_product_attention" in str(error):
            raise _unknown_kind(
                spec, "its attention is of another kind (as Gemma 2's and GPT-OSS's), or it has none"
            ) from error
        raise not_loadable(spec, error) from error
    _check_layers(model, spec)
    if not load_in_4bit:
        model = model.to(torch_device)
    check_head(model, spec)
    _copy_out_of_file(model)
    return LoadedModel(model.eval(), tokenizer, spec, source.fingerprint, torch_device, torch_dtype)


def _check_layers(model: Any, spec: str) -> None:
    """Refuse layers that keep a state instead of keys and values: prefixes could not be shared, nor rows packed."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if kinds - _ATTENTION or getattr(model, "_is_stateful", False):
        raise _unknown_kind(spec, f"some layers keep a state ({', '.join(sorted(kinds - _ATTENTION)) or 'recurrent'})")


def _unknown_kind(spec: str, why: str) -> ModelError:
    return ModelError(
        f"{spec!r} cannot be used: {why}",
        mend="Take a model of attention layers alone, such as Llama, Mistral, Qwen 2 or 3, Gemma 3 or Granite 3.",
    )


def _copy_out_of_file(model: Any) -> None:
    """Copy embeddings and norms: the mapped file of all weights stays in memory as long as one is read from it.

    The linear layers' weights are left there, since they are packed elsewhere and dropped.
    """
    linear = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Linear)}
    embeddings = {id(part.weight) for part in (model.get_input_embeddings(), model.get_output_embeddings())}
    for parameter in model.parameters():
        if parameter.device.type == "cpu" and (id(parameter) in embeddings or id(parameter) not in linear):
            parameter.data = parameter.data.clone()


def lowest_layers(loaded: LoadedModel, n_layers: int | None) -> LoadedModel:
    """Keep a model's lowest layers, its final norm and its head; the model is changed. None keeps all.

    Raises:
        ModelError: The model has fewer layers, or they are not where transformers usually puts them.
    """
    if n_layers is None:
        return loaded
    layers = getattr(loaded.model.base_model, "layers", None)
    if layers is None or n_layers > len(layers):
        has = "its layers cannot be counted" if layers is None else f"it has {len(layers)} layers"
        raise ModelError(f"{loaded.name!r} cannot be cut to {n_layers} layers: {has}", mend="Set train.layers=null.")
    loaded.model.base_model.layers = layers[:n_layers]
    loaded.model.config.num_hidden_layers = n_layers
    return loaded


def load_tokenizer(spec: str) -> Any:
    """Load a model's tokenizer alone; raises ModelError as `load_model` does."""
    return _tokenizer(spec, *_folder(locate(spec)))


def _tokenizer(spec: str, folder: str, options: dict[str, Any]) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise not_loadable(spec, error) from error


def _folder(source: Source) -> tuple[str, dict[str, Any]]:
    """Return what transformers is to load, and the options that pin it."""
    if source.is_gguf:
        return str(dequantised(Path(source.location))), {}
    return source.location, {"revision": source.revision} if source.revision else {}


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


def release_memory() -> None:
    """Give freed blocks back after all: when a model is done with, they are hundreds of megabytes."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def choose_device(device: DeviceName) -> torch.device:
    """Return the device of a name; raises ModelError if it is not there."""
    if device == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return _of_this_process(torch.device(best))
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        raise ModelError(f"device {device!r} is not available here", mend="Use --device cpu or auto.")
    return _of_this_process(torch.device(device))


def _of_this_process(device: torch.device) -> torch.device:
    """Return the process's own GPU under `accelerate launch`: without a number it is the first one, for all of them."""
    rank = os.environ.get("LOCAL_RANK", "")
    if device.type != "cuda" or not rank.isdigit():
        return device
    own = torch.device("cuda", int(rank) % torch.cuda.device_count())
    torch.cuda.set_device(own)
    return own


def choose_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype:
    """Return the float type of a name; "auto" depends on the device."""
    if dtype == "auto":
        return {"cuda": torch.bfloat16, "mps": torch.float16}.get(device.type, torch.float32)
    chosen: torch.dtype = getattr(torch, dtype)
    return chosen


def _four_bit(dtype: torch.dtype) -> Any:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError("4-bit loading needs bitsandbytes", mend="Run `pip install 'handful[quant]'`.")
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
