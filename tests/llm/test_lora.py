from __future__ import annotations

import copy
from typing import Any

import peft
import torch
from torch import Tensor, nn

from handful.llm.lora import lean_lora


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 32)
        self.second = nn.Linear(32, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.second(torch.tanh(self.first(x)))
        return output


def peft_model(dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=["first", "second"])
    model = peft.get_peft_model(TwoLayers(), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model


def gradients(model: Any, x: Tensor) -> dict[str, Tensor]:
    model(x).square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_lean_layers_have_peft_s_values_and_gradients() -> None:
    usual = peft_model()
    lean = copy.deepcopy(usual)
    lean_lora(lean)
    x = torch.randn(3, 5, 16, requires_grad=True)
    also_x = x.detach().clone().requires_grad_()
    assert torch.equal(usual(x), lean(also_x))
    expected, found = gradients(usual, x), gradients(lean, also_x)
    assert expected.keys() == found.keys()
    assert len(found) == 4
    assert all(torch.allclose(expected[name], found[name], atol=1e-6) for name in expected)
    assert torch.allclose(x.grad, also_x.grad, atol=1e-6)  # type: ignore[arg-type]


def test_layers_with_dropout_stay_peft_s() -> None:
    model = peft_model(dropout=0.1)
    forwards = [type(module).forward for module in model.modules() if hasattr(module, "lora_A")]
    lean_lora(model)
    assert len(forwards) == 2
    assert not any("forward" in vars(module) for module in model.modules() if hasattr(module, "lora_A"))
