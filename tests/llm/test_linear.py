from __future__ import annotations

import pytest
import torch

from handful.llm import linear
from handful.llm.linear import frozen_linear


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("with_bias", [True, False])
def test_float_layers_are_nn_linear(rows: int, packed: bool, with_bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packed:
        monkeypatch.setattr(linear, "has_packed_kernels", lambda: False)
    weight, x = torch.randn(24, 40), torch.randn(rows, 40)
    bias = torch.randn(24) if with_bias else None
    layer = frozen_linear(weight, bias)
    expected = torch.nn.functional.linear(x, weight, bias)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    weight.zero_()  # the layer has a copy
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_int8_layers_are_near() -> None:
    weight, bias, x = torch.randn(64, 96), torch.randn(64), torch.randn(50, 96)
    expected = torch.nn.functional.linear(x, weight, bias)
    found = frozen_linear(weight, bias, "int8")(x)
    error = (found - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.03
