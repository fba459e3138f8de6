"""Frozen linear layers, their weights kept in the layout the CPU's fastest kernel reads.

oneDNN compiles its kernels for the instructions the CPU has; the BLAS behind `nn.Linear` chooses by the maker of the
CPU. On a Zen 5 with AVX-512 the one multiplies 2.3 times as fast as the other (docs/experiments.md, 2026-11-24).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Linear = Callable[[Tensor], Tensor]
"""x of shape (T, D_in) -> x W^T + bias, shape (T, D_out)."""
Precision = Literal["float32", "int8"]

_ROWS = 256
"""Rows of x the packed layout is chosen for; it serves 1 to 1,024 rows about as well."""


def has_packed_kernels() -> bool:
    """Return whether this build of PyTorch can multiply by packed weights."""
    return bool(torch._C._has_mkldnn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def frozen_linear(weight: Tensor, bias: Tensor | None = None, precision: Precision = "float32") -> Linear:
    """Return a linear layer that takes no gradient for its weights; they are copied.

    Args:
        weight: Shape (D_out, D_in), float32 on the CPU.
        bias: Shape (D_out,).
        precision: `int8` rounds each row of the weights, and each x as a whole, to 8 bits.
    """
    weight = weight.detach()
    bias = None if bias is None else bias.detach().clone()
    if precision == "int8":
        return _int8(weight, bias)
    if not has_packed_kernels():
        kept = weight.clone()
        return lambda x: torch.nn.functional.linear(x, kept, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, packed, bias, "none", [], "")


def _int8(weight: Tensor, bias: Tensor | None) -> Linear:
    scales = weight.abs().amax(dim=1).clamp_(min=1e-12) / 127
    zero_points = torch.zeros(len(weight), dtype=torch.long)
    quantised = torch.quantize_per_channel(weight, scales, zero_points, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(quantised, bias)
    multiply = torch.ops.quantized.linear_dynamic
    return lambda x: multiply(x, packed, True)
