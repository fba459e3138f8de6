"""Frozen linear layers, their weights kept in the layout the CPU's fastest kernel reads.

oneDNN compiles its kernels for the instructions the CPU has; the BLAS behind `nn.Linear` chooses by the maker of the
CPU. On a Zen 5 with AVX-512 the one multiplies 2.3 times as fast as the other (docs/experiments.md, 2026-11-24).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from handful.llm.protocol import Precision

Linear = Callable[[Tensor], Tensor]
"""x of shape (T, D_in) -> x W^T + bias, shape (T, D_out)."""

_ROWS = 256
"""Rows of x the packed layout is chosen for; it serves 1 to 1,024 rows about as well."""


def has_packed_kernels() -> bool:
    """Return whether this build of PyTorch can multiply by packed weights."""
    return bool(torch._C._has_mkldnn) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def quick_precision() -> Precision:
    """Return what tuning is fastest in on this CPU: bfloat16 where it has instructions for it, float32 elsewhere.

    Without them oneDNN converts every number, which takes longer than it saves.
    """
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has_packed_kernels() and native else "float32"


def frozen_linear(weight: Tensor, bias: Tensor | None = None, precision: Precision = "float32") -> Linear:
    """Return a linear layer that takes no gradient for its weights; they are copied.

    Args:
        weight: Shape (D_out, D_in), float32 on the CPU.
        bias: Shape (D_out,).
        precision: `bfloat16` rounds weights and x to 8 bits of mantissa, `int8` each row of both to 8 bits.
    """
    weight = weight.detach()
    bias = None if bias is None else bias.detach().clone()
    if precision == "int8":
        return _int8(weight, bias)
    if precision == "bfloat16":
        return _bfloat16(weight, bias)
    if not has_packed_kernels():
        kept = weight.clone()
        return lambda x: torch.nn.functional.linear(x, kept, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x, packed, bias, "none", [], "")


def product(x: Tensor, y: Tensor) -> Tensor:
    """Return x y^T for float32 matrices of which one is thin: up to ten times as fast as `@` where oneDNN is.

    Args:
        x: Shape (T, D).
        y: Shape (R, D).
    """
    if not has_packed_kernels():
        return x @ y.T
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, y, None, "none", [], "")
    return result


def _bfloat16(weight: Tensor, bias: Tensor | None) -> Linear:
    short = weight.bfloat16()
    short_bias = None if bias is None else bias.bfloat16()
    if not (has_packed_kernels() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return lambda x: torch.nn.functional.linear(x.bfloat16(), short, short_bias).float()
    packed = torch.ops.mkldnn._reorder_linear_weight(short, _ROWS)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda x: multiply(x.bfloat16(), packed, short_bias, "none", [], "").float()


def _int8(weight: Tensor, bias: Tensor | None) -> Linear:
    """Scale each row of x by its own largest value: one scale for all of x would leave most rows few levels."""
    scales = weight.abs().amax(dim=1).clamp_(min=1e-12) / 127
    rounded = (weight / scales[:, None]).round_().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(rounded, [_ROWS, weight.shape[1]])
    zero_points = torch.zeros(len(weight), dtype=torch.int32)
    multiply = torch.ops.onednn.qlinear_pointwise

    def layer(x: Tensor) -> Tensor:
        # PyTorch's norm of order infinity takes twenty times as long, its conversion to uint8 three times.
        largest = torch.maximum(x.amax(-1, keepdim=True), -x.amin(-1, keepdim=True)).clamp_(min=1e-12)
        levels = (x * (127 / largest)).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        product: Tensor = multiply(
            levels, 1.0, 128, packed, scales, zero_points, None, 1.0, 0, torch.float32, "none", [], ""
        )
        product.mul_(largest / 127)
        return product if bias is None else product.add_(bias)

    return layer
