from __future__ import annotations

import pytest
import torch

from handful.llm import linear
from handful.llm.linear import frozen_linear
from handful.llm.protocol import Precision


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


@pytest.mark.parametrize(("precision", "least", "most"), [("bfloat16", 1e-4, 0.005), ("int8", 1e-4, 0.015)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_shorter_numbers_are_near(precision: Precision, least: float, most: float, with_bias: bool) -> None:
    weight, x = torch.randn(64, 96), torch.randn(50, 96) * torch.logspace(-3, 3, 50)[:, None]
    bias = torch.randn(64) if with_bias else None
    expected = torch.nn.functional.linear(x, weight, bias)
    found = frozen_linear(weight, bias, precision)(x)
    # Row by row: a row of small numbers must not pay for one of large ones.
    errors = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert least < errors.max() < most
    assert torch.isfinite(frozen_linear(weight, bias, precision)(torch.zeros(2, 96))).all()
