"""LoRA layers computed without full-size temporaries: the update is added by the matrix product that makes it.

PEFT's own forward makes three arrays of the layer's output size per layer, and its backward as many; on a CPU that is a
seventh of a training step (docs/experiments.md). The modules, their names and their parameters stay PEFT's.
"""

from __future__ import annotations

from typing import Any

from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.autograd import Function


class _LowRankUpdate(Function):
    """y = x W^T + bias + s (x A^T) B^T with frozen W and bias (Hu et al. 2021, equation 3)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scaling: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])  # (T, D_in)
        inner = flat @ down.T  # (T, r)
        output = nn.functional.linear(flat, weight, bias).addmm_(inner, up.T, alpha=scaling)
        ctx.save_for_backward(flat, weight, down, up, inner)
        ctx.scaling, ctx.shape = scaling, x.shape
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        flat, weight, down, up, inner = ctx.saved_tensors
        grad = grads[0].reshape(-1, weight.shape[0])  # (T, D_out)
        grad_inner = (grad @ up) * ctx.scaling  # (T, r)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad @ weight).addmm_(grad_inner, down).view(ctx.shape)
        return grad_x, None, None, grad_inner.T @ flat, (grad.T @ inner) * ctx.scaling, None


def lean_lora(model: Any, adapter: str = "default") -> None:
    """Let a PEFT model's float LoRA layers without dropout compute as above; others are left as they are.

    Args:
        model: A PEFT model that is going to be trained; changed in place.
        adapter: Name of its one active adapter.
    """
    for module in model.modules():
        if isinstance(module, LoraLinear) and _is_plain(module, adapter):
            module.forward = _forward(module, adapter)


def _is_plain(module: Any, adapter: str) -> bool:
    base = module.get_base_layer()
    return (
        type(base) is nn.Linear
        and isinstance(module.lora_dropout[adapter], nn.Identity)
        and not module.lora_variant
        and base.weight.dtype == module.lora_A[adapter].weight.dtype
    )


def _forward(module: Any, adapter: str) -> Any:
    base, down, up = module.get_base_layer(), module.lora_A[adapter], module.lora_B[adapter]
    scaling = module.scaling[adapter]

    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        output: Tensor = _LowRankUpdate.apply(  # type: ignore[no-untyped-call]  # torch leaves it untyped
            x, base.weight, base.bias, down.weight, up.weight, scaling
        )
        return output

    return forward
