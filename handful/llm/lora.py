"""LoRA layers as the written-out decoder runs them: layers that read the same input share their matrix products.

The modules, their names and their parameters stay PEFT's; only the arithmetic is done here. PEFT's own forward makes
three arrays of the layer's output size per layer, and multiplies by the frozen weights in the slower kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.autograd import Function

from handful.llm.bodies import side_by_side
from handful.llm.decoder import Decoder, build_decoder
from handful.llm.linear import Linear, frozen_linear


class _Updated(Function):
    """y = x W^T + bias + inner up^T with frozen W and bias (Hu et al. 2021, equation 3)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, inner: Tensor | None, up: Tensor | None, by_weight: Linear, by_transpose: Linear
    ) -> Tensor:
        output = by_weight(x)
        if inner is not None and up is not None:
            output.addmm_(inner, up.T)
            ctx.save_for_backward(inner, up)
        ctx.by_transpose = by_transpose
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        grad = grads[0]
        grad_x = ctx.by_transpose(grad) if ctx.needs_input_grad[0] else None
        if not ctx.saved_tensors:
            return grad_x, None, None, None, None
        inner, up = ctx.saved_tensors
        return grad_x, grad @ up, grad.T @ inner, None, None


def frozen_with_gradient(weight: Tensor, bias: Tensor | None = None) -> Linear:
    """Return a frozen linear layer through which a gradient flows to its input."""
    by_weight, by_transpose = frozen_linear(weight, bias), frozen_linear(weight.T.contiguous())

    def layer(x: Tensor) -> Tensor:
        output: Tensor = _Updated.apply(x, None, None, by_weight, by_transpose)  # type: ignore[no-untyped-call]
        return output

    return layer


def tuned_decoder(model: Any, adapter: str = "default") -> Decoder | None:
    """Write out a PEFT model for training, None if it is of an unknown kind; its frozen layers are freed.

    Args:
        model: A PEFT model whose LoRA parameters are going to be trained; it cannot be run itself any more.
        adapter: Name of its one active adapter.
    """

    def make_linear(modules: Sequence[Any]) -> Linear:
        layer = _tuned_linear(modules, adapter)
        for base in map(_base, modules):
            base.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        return layer

    return build_decoder(model, make_linear)


def _base(module: Any) -> Any:
    return module.get_base_layer() if isinstance(module, LoraLinear) else module


def _tuned_linear(modules: Sequence[Any], adapter: str) -> Linear:
    bases = [_base(module) for module in modules]
    weight, bias = side_by_side(bases)
    tuned = [module for module in modules if isinstance(module, LoraLinear)]
    if not tuned:
        return frozen_with_gradient(weight, bias)
    by_weight, by_transpose = frozen_linear(weight, bias), frozen_linear(weight.T.contiguous())
    scaling = tuned[0].scaling[adapter]
    untouched = {id(m): torch.zeros(len(b.weight), 0) for m, b in zip(modules, bases, strict=True)}

    def layer(x: Tensor) -> Tensor:
        inner = torch.cat([m.lora_dropout[adapter](x) @ m.lora_A[adapter].weight.T for m in tuned], dim=1) * scaling
        # Each layer's update reaches its own outputs alone.
        up = torch.block_diag(
            *(m.lora_B[adapter].weight if isinstance(m, LoraLinear) else untouched[id(m)] for m in modules)
        )
        output: Tensor = _Updated.apply(x, inner, up, by_weight, by_transpose)  # type: ignore[no-untyped-call]
        return output

    return layer
