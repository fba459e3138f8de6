"""Training through the written-out layers against PEFT's own forward and backward."""

from __future__ import annotations

import copy
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn

from handful.llm.label_trie import build_label_trie
from handful.llm.lora import frozen_with_gradient, tuned_decoder
from handful.llm.packing import Packed, pack
from handful.llm.tree_attention import tree_attention
from tests.llm.test_decoder import model_of

PREFIX = [5, 6, 7, 8]
TEXTS = [[1, 2], [3, 1, 4, 1, 5, 9], [2, 6, 5]]
MULTI = build_label_trie([[7, 8], [7, 9, 2], [4]], [0])


def peft_model(kind: str, modules: Any, dropout: float = 0.0) -> Any:
    config = peft.LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=modules, task_type="CAUSAL_LM")
    model = peft.get_peft_model(model_of(kind, {}), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model


def by_peft(model: Any, packed: Packed) -> Tensor:
    states: Tensor = (
        model.get_base_model()
        .model(packed.ids, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False)
        .last_hidden_state[0]
    )
    return states


def gradients(model: Any, states: Tensor) -> dict[str, Tensor]:
    (states * torch.linspace(-1, 1, states.numel()).view(states.shape)).sum().backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("modules", ["all-linear", ["q_proj", "v_proj"]], ids=["all", "attention"])
@pytest.mark.parametrize("share", [True, False])
def test_states_and_gradients_are_peft_s(kind: str, modules: Any, share: bool) -> None:
    usual = peft_model(kind, modules)
    ours = copy.deepcopy(usual)
    packed = pack(PREFIX, TEXTS, MULTI, share_prefix=share)
    decoder = tuned_decoder(ours)
    assert decoder is not None
    expected = by_peft(usual, packed)
    states = decoder(packed.ids[0], packed.positions[0], tree_attention(decoder.heads, packed))
    assert torch.allclose(states, expected, atol=1e-4)
    wanted, found = gradients(usual, expected), gradients(ours, states)
    assert wanted.keys() == found.keys()
    assert len(found) == 3 * 2 * (7 if modules == "all-linear" else 2)
    for name, gradient in wanted.items():
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), name


def test_only_wanted_states_are_computed_at_the_end() -> None:
    model = peft_model("llama", "all-linear")
    decoder = tuned_decoder(model)
    assert decoder is not None
    packed = pack(PREFIX, TEXTS, None)
    attend = tree_attention(decoder.heads, packed)
    whole = decoder(packed.ids[0], packed.positions[0], attend)
    assert torch.allclose(
        decoder(packed.ids[0], packed.positions[0], attend, packed.ends), whole[packed.ends], atol=1e-5
    )


def test_dropout_falls_on_the_update_alone() -> None:
    packed = pack(PREFIX, TEXTS, None)
    model = peft_model("llama", "all-linear", dropout=0.5)
    plain = by_peft(model.eval(), packed).detach()
    decoder = tuned_decoder(model.train())
    assert decoder is not None
    attend = tree_attention(decoder.heads, packed)
    draws = torch.stack([decoder(packed.ids[0], packed.positions[0], attend).detach() for _ in range(3)])
    assert not torch.allclose(draws[0], draws[1])
    model.eval()
    assert torch.allclose(decoder(packed.ids[0], packed.positions[0], attend), plain, atol=1e-4)


def test_a_gradient_flows_through_a_frozen_layer() -> None:
    weight, x = torch.randn(5, 7), torch.randn(3, 7, requires_grad=True)
    frozen_with_gradient(weight)(x).square().sum().backward()  # type: ignore[no-untyped-call]
    also_x = x.detach().clone().requires_grad_()
    (also_x @ weight.T).square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert also_x.grad is not None
    assert torch.allclose(x.grad, also_x.grad, atol=1e-5)


def test_in_bfloat16_states_and_gradients_are_near() -> None:
    exact = peft_model("llama", "all-linear")
    short = copy.deepcopy(exact)
    packed = pack(PREFIX, TEXTS, MULTI)
    found = []
    for model, decoder in ((exact, tuned_decoder(exact)), (short, tuned_decoder(short, precision="bfloat16"))):
        assert decoder is not None
        states = decoder(packed.ids[0], packed.positions[0], tree_attention(decoder.heads, packed))
        found.append((states.detach(), gradients(model, states)))
    (states, wanted), (short_states, gradient) = found
    assert 1e-5 < (short_states - states).norm() / states.norm() < 0.02
    assert wanted.keys() == gradient.keys()
    for name, value in wanted.items():
        assert value.norm() == 0 or (gradient[name] - value).norm() / value.norm() < 0.05, name
