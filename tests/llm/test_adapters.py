"""What an adapter's files may say, before PEFT builds what they say."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from handful.errors import AdapterError
from handful.llm.adapters import with_adapter
from handful.llm.loading import load_model


def test_an_adapter_of_another_model_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    get_peft_model(LlamaForCausalLM(config), LoraConfig(target_modules="all-linear")).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match="the adapter does not fit"):
        with_adapter(load_model(str(tiny_model_dir), device="cpu"), tmp_path)
    for missing in ("adapter_model.safetensors", "adapter_config.json"):
        (tmp_path / missing).unlink()
        with pytest.raises(AdapterError, match=f"there is no {missing}"):
            with_adapter(load_model(str(tiny_model_dir), device="cpu"), tmp_path)


@pytest.mark.parametrize(
    ("settings", "tensors", "message"),
    [
        ({"r": 10_000_000}, {}, "its rank is 10000000, its tensors have"),
        ({"rank_pattern": {"q_proj": 10_000_000}}, {}, "classifier of handful has the settings {'rank_pattern'"),
        (
            {"layer_replication": [[0, 2]] * 100_000},
            {},
            "classifier of handful has the settings {'layer_replication'",
        ),
        ({"layer_replication": [[0, 99]]}, {}, "classifier of handful has the settings {'layer_replication'"),
        ({"target_modules": "(.*a)*(.*b)*c"}, {}, "classifier of handful has the settings {'target_modules'"),
        ({"exclude_modules": "("}, {}, "classifier of handful has the settings {'exclude_modules'"),
        ({"layers_to_transform": 7}, {}, "classifier of handful has the settings {'layers_to_transform'"),
        ({"megatron_config": {"a": 1}}, {}, "classifier of handful has the settings {'megatron_config'"),
        ({"init_lora_weights": "pissa"}, {}, "classifier of handful has the settings {'init_lora_weights'"),
        ({"of_a_later_version": True}, {}, "classifier of handful has the settings {'of_a_later_version'"),
        ({"peft_type": "IA3"}, {}, "it is of type 'IA3', not LORA"),
        ({"lora_alpha": 1e308}, {}, "its lora_alpha is 1e+308"),
        ({}, {"v_proj": None}, "2 of its tensors are not those that its settings name"),
        ({}, {"q_proj": float("nan")}, "it holds numbers that are not finite"),
    ],
)
def test_a_strangers_adapter_is_read_before_it_is_built(
    tiny_model_dir: Path, tmp_path: Path, settings: dict[str, Any], tensors: dict[str, float | None], message: str
) -> None:
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file, save_file

    model = load_model(str(tiny_model_dir), device="cpu").model
    layers = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], layers_to_transform=[0])
    get_peft_model(model, layers).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, **settings}))
    weights = load_file(tmp_path / "adapter_model.safetensors")
    for part, value in tensors.items():
        for name in [name for name in weights if part in name]:
            if value is None:
                del weights[name]
            else:
                weights[name] = torch.full_like(weights[name], value)
    save_file(weights, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AdapterError) as refused:
        with_adapter(load_model(str(tiny_model_dir), device="cpu"), tmp_path)
    assert message in str(refused.value)


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_of_what_peft_asks_a_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = load_model(str(tiny_model_dir), device="cpu").model
        get_peft_model(base, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(tmp_path)
    with_adapter(load_model(str(tiny_model_dir), device="cpu"), tmp_path)
