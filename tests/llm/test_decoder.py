"""The written-out layers against transformers' own, for every architecture they claim to know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from handful.llm.bodies import DecoderBody, TransformersBody, choose_body, drop_layer_weights, side_by_side
from handful.llm.linear import Linear, frozen_linear

SIZES = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
KNOWN = [
    ("llama", {}),
    ("llama", {"attention_bias": True, "tie_word_embeddings": True}),
    ("llama", {"rope_parameters": LLAMA3}),
    ("mistral", {"sliding_window": None}),
    ("qwen2", {}),
    ("qwen3", {}),
]
UNKNOWN = [
    ("gemma", {}),
    ("llama", {"hidden_act": "gelu"}),
    ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0}}),
    ("mistral", {"sliding_window": 8}),
]


def model_of(kind: str, changes: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SIZES | changes)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:  # constants when new: they would hide that they are not used
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return model


@pytest.mark.parametrize(("kind", "changes"), KNOWN)
@torch.inference_mode()
def test_hidden_states_are_transformers(kind: str, changes: dict[str, Any]) -> None:
    model = model_of(kind, changes)
    body = choose_body(model)
    assert isinstance(body, DecoderBody)
    ids = torch.randint(60, (2, 50))
    ids[1, :9] = ids[0, :9]
    expected = model.base_model(ids, use_cache=False).last_hidden_state
    prefix = body.open(ids[0, :9].tolist())
    assert torch.allclose(prefix.last_hidden[0], expected[0, 8], atol=1e-4)
    positions = torch.arange(9, 50).repeat(2, 1)
    for lengths, wanted in (([41, 41], [0, 40, 41, 60, 81]), ([41, 20], [0, 40, 41, 60]), ([3, 41], [2, 41, 81])):
        found = body.read(prefix, ids[:, 9:], positions, torch.tensor(lengths), None, torch.tensor(wanted))
        assert torch.allclose(found, expected[:, 9:].reshape(-1, 32)[wanted], atol=1e-4)


@pytest.mark.parametrize(("kind", "changes"), UNKNOWN)
def test_other_architectures_run_through_transformers(kind: str, changes: dict[str, Any]) -> None:
    assert isinstance(choose_body(model_of(kind, changes)), TransformersBody)


def test_a_model_that_computes_otherwise_is_noticed() -> None:
    model = model_of("llama", {})
    model.model.layers[1].mlp.act_fn = torch.nn.ReLU()  # not what its configuration says
    assert isinstance(choose_body(model), TransformersBody)


@torch.inference_mode()
def test_weights_can_be_dropped_once_packed() -> None:
    model = model_of("llama", {})
    body = choose_body(model)
    expected = body.open([1, 2, 3]).last_hidden
    drop_layer_weights(model)
    assert sum(p.numel() for p in model.model.layers.parameters()) < 300  # norms
    assert torch.equal(body.open([1, 2, 3]).last_hidden, expected)


def test_layers_side_by_side_write_what_each_writes() -> None:
    layers: Sequence[Any] = [torch.nn.Linear(6, 4), torch.nn.Linear(6, 3, bias=False)]
    together: Linear = frozen_linear(*side_by_side(layers))
    x = torch.randn(5, 6)
    assert torch.allclose(together(x), torch.cat([layer(x) for layer in layers], dim=1), atol=1e-6)
