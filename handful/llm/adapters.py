"""Putting a LoRA adapter on a base model, through peft: it may be a stranger's, so its settings are checked first."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from handful.errors import AdapterError
from handful.llm.loading import LoadedModel

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_MOST_ALPHA = 1_000_000
_OF_EACH = {
    *("peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "layers_to_transform"),
    *("base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version", "fan_in_fan_out"),
}
"""Settings in which adapters of `train.py` differ, and what PEFT notes besides; all others have PEFT's defaults."""


def with_adapter(loaded: LoadedModel, directory: Path, *, merge: bool = True) -> LoadedModel:
    """Put a LoRA adapter on a model; merged, it costs nothing at prediction.

    Raises:
        AdapterError: The adapter does not fit the model.
    """
    for name in (_CONFIG, _WEIGHTS):  # PEFT would take a pickle instead, or ask the hub
        if not (directory / name).is_file():
            mend = "Give the directory of a trained classifier."
            raise AdapterError(f"there is no {name}", where=str(directory), mend=mend)
    try:
        stored = _tensor_names(directory)
        with warnings.catch_warnings():
            # peft asks the model for an attribute by its old name.
            warnings.simplefilter("ignore", FutureWarning)
            model = PeftModel.from_pretrained(loaded.model, str(directory))
        # Left to itself, PEFT asks the hub whether the base model's vocabulary was changed.
        own = get_peft_model_state_dict(model, save_embedding_layers=False)
        if stored != own.keys():
            raise ValueError(f"{len(stored ^ own.keys())} of its tensors are not those that its settings name")
        if not all(bool(tensor.isfinite().all()) for tensor in own.values()):
            raise ValueError("it holds numbers that are not finite")
    except (ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise AdapterError(
            f"the adapter does not fit {loaded.name!r}: {str(error).splitlines()[0][:200]}",
            where=str(directory),
            mend="Load it with the base model it was made for.",
        ) from error
    # Not merged, the adapter's layers stand in the base model itself; around it PEFT's wrapper hides the hidden states.
    return dataclasses.replace(loaded, model=(model.merge_and_unload() if merge else model.get_base_model()).eval())


def _tensor_names(directory: Path) -> set[str]:
    """Return the names of an adapter's tensors, if its settings ask for no more than it holds.

    PEFT does what the settings say before it looks at the tensors: it clones layers, looks names up by regular
    expressions, imports packages, makes layers of any rank. A stranger's could fill the memory or never end.

    Raises:
        ValueError: They do not fit, or are none that `train.py` writes.
    """
    config = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
    with safe_open(directory / _WEIGHTS, framework="numpy") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118  # no mapping
    _check_settings(config)
    ranks = {shape[0] for name, shape in shapes.items() if "lora_A" in name}
    if ranks != {config["r"]}:
        raise ValueError(f"its rank is {config['r']!r}, its tensors have {sorted(ranks)}")
    return set(shapes)


def _check_settings(config: Mapping[str, Any]) -> None:
    if config["peft_type"] != "LORA":
        raise ValueError(f"it is of type {config['peft_type']!r}, not LORA")
    if not 0 < config["lora_alpha"] <= _MOST_ALPHA:
        raise ValueError(f"its lora_alpha is {config['lora_alpha']!r}")
    defaults = LoraConfig().to_dict()
    of_layers = {key: config.get(key) or [] for key in ("target_modules", "exclude_modules", "layers_to_transform")}
    strange = [key for key, value in config.items() if key not in _OF_EACH and value and value != defaults.get(key)]
    strange += [key for key, value in of_layers.items() if not isinstance(value, list)]
    if strange:
        named = {key: str(config[key])[:40] for key in strange[:3]}
        raise ValueError(f"no classifier of handful has the settings {named}")
