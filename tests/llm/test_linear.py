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


@pytest.mark.parametrize(
    ("precision", "packed", "least", "most"),
    [("bfloat16", True, 1e-4, 0.005), ("bfloat16", False, 1e-4, 0.005), ("int8", True, 1e-4, 0.015)],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_shorter_numbers_are_near(
    precision: Precision, packed: bool, least: float, most: float, with_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packed:
        monkeypatch.setattr(linear, "has_packed_kernels", lambda: False)
    weight, x = torch.randn(64, 96), torch.randn(50, 96) * torch.logspace(-3, 3, 50)[:, None]
    bias = torch.randn(64) if with_bias else None
    expected = torch.nn.functional.linear(x, weight, bias)
    found = frozen_linear(weight, bias, precision)(x)
    # Row by row: a row of small numbers must not pay for one of large ones.
    errors = (found - expected).norm(dim=1) / expected.norm(dim=1)
    assert least < errors.max() < most
    assert torch.isfinite(frozen_linear(weight, bias, precision)(torch.zeros(2, 96))).all()


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "packed", "expected"),
    [
        (True, False, True, "bfloat16"),
        (False, True, True, "bfloat16"),
        (False, False, True, "float32"),
        (True, True, False, "float32"),
    ],
)
def test_tuning_is_in_bfloat16_where_the_cpu_multiplies_it(
    avx512_bf16: bool, amx: bool, packed: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(linear, "has_packed_kernels", lambda: packed)
    assert linear.quick_precision() == expected
