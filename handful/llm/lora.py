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
from handful.llm.linear import Linear, frozen_linear, product
from handful.llm.protocol import Precision


class _Thin(Function):
    """y = x down^T: the inner states of LoRA layers, (T, R)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Tensor) -> Tensor:
        ctx.save_for_backward(x, down)
        return product(x, down)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor]:
        grad, (x, down) = grads[0], ctx.saved_tensors
        return product(grad, down.T) if ctx.needs_input_grad[0] else None, product(grad.T, x.T)


class _Updated(Function):
    """y = x W^T + bias + inner up^T with frozen W and bias (Hu et al. 2021, equation 3)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, by_weight: Linear, by_transpose: Linear, inner: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(inner, up)
        ctx.by_transpose = by_transpose
        return by_weight(x).add_(product(inner, up))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad, (inner, up) = grads[0], ctx.saved_tensors
        grad_x = ctx.by_transpose(grad) if ctx.needs_input_grad[0] else None
        # (inner^T grad)^T, since grad^T inner takes five times as long.
        return grad_x, None, None, product(grad, up.T), product(inner.T, grad.T).T


class _Frozen(Function):
    """y = x W^T + bias, with a gradient for x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, by_weight: Linear, by_transpose: Linear) -> Tensor:
        ctx.by_transpose = by_transpose
        return by_weight(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.by_transpose(grads[0]), None, None


def frozen_with_gradient(weight: Tensor, bias: Tensor | None = None, precision: Precision = "float32") -> Linear:
    """Return a frozen linear layer through which a gradient flows to its input."""
    by_weight, by_transpose = _both_ways(weight, bias, precision)

    def layer(x: Tensor) -> Tensor:
        output: Tensor = _Frozen.apply(x, by_weight, by_transpose)  # type: ignore[no-untyped-call]
        return output

    return layer


def tuned_decoder(model: Any, adapter: str = "default", precision: Precision = "float32") -> Decoder | None:
    """Write out a PEFT model for training, None if it is of an unknown kind; its frozen layers are freed.

    Args:
        model: A PEFT model whose LoRA parameters are going to be trained; it cannot be run itself any more.
        adapter: Name of its one active adapter.
        precision: Of the products with the frozen weights; the adapter's own are in float32.
    """

    def make_linear(modules: Sequence[Any]) -> Linear:
        layer = _tuned_linear(modules, adapter, precision)
        for base in map(_base, modules):
            base.weight = nn.Parameter(torch.empty(0), requires_grad=False)
        return layer

    return build_decoder(model, make_linear)


def _base(module: Any) -> Any:
    return module.get_base_layer() if isinstance(module, LoraLinear) else module


def _both_ways(weight: Tensor, bias: Tensor | None, precision: Precision) -> tuple[Linear, Linear]:
    """Return the layer, and the one that takes the gradient of its output to that of its input."""
    return frozen_linear(weight, bias, precision), frozen_linear(weight.T.contiguous(), None, precision)


def _tuned_linear(modules: Sequence[Any], adapter: str, precision: Precision) -> Linear:
    bases = [_base(module) for module in modules]
    weight, bias = side_by_side(bases)
    tuned = [module for module in modules if isinstance(module, LoraLinear)]
    if not tuned:
        return frozen_with_gradient(weight, bias, precision)
    by_weight, by_transpose = _both_ways(weight, bias, precision)
    scaling = tuned[0].scaling[adapter]
    n_outputs = [len(base.weight) for base in bases]

    dropped = any(not isinstance(module.lora_dropout[adapter], nn.Identity) for module in tuned)

    def layer(x: Tensor) -> Tensor:
        downs = [m.lora_A[adapter].weight for m in tuned]
        if dropped:  # each layer drops inputs of its own
            kept = [m.lora_dropout[adapter](x) for m in tuned]
            inner = torch.cat([_thin(part, down) for part, down in zip(kept, downs, strict=True)], dim=1)
        else:
            inner = _thin(x, torch.cat(downs))
        # One matrix, each layer's own block in it: the zeros cost less than slices of the output would.
        up = torch.block_diag(  # type: ignore[no-untyped-call]
            *(
                module.lora_B[adapter].weight if isinstance(module, LoraLinear) else x.new_zeros(n, 0)
                for module, n in zip(modules, n_outputs, strict=True)
            )
        )
        output: Tensor = _Updated.apply(x, by_weight, by_transpose, inner * scaling, up)  # type: ignore[no-untyped-call]
        return output

    return layer


def _thin(x: Tensor, down: Tensor) -> Tensor:
    inner: Tensor = _Thin.apply(x, down)  # type: ignore[no-untyped-call]
    return inner
