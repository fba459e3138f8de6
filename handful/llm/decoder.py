"""A Llama-like transformer body written out for the CPU: every matrix product once, in the fastest kernel there is.

Reading, writing and tuning are this one function, with other linear layers (`linear.py`, `lora.py`) and another
attention (`attention.py`, `tree_attention.py`). Architectures it does not know run through transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import rms_norm
from torch.utils.checkpoint import checkpoint

from handful.llm.linear import Linear

Attend = Callable[[int, Tensor], Tensor]
"""(layer, rotated queries, keys and values (T, H + 2 H_kv, d)) -> outputs (T, H d)."""
MakeLinear = Callable[[Sequence[Any]], Linear]
"""Layers that read the same input -> one layer that writes their outputs side by side."""

_MODEL_TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
_ROPE_TYPES = frozenset({"default", "linear", "llama3"})


@dataclass(frozen=True)
class Heads:
    """How the rows of queries, keys and values are cut into heads."""

    n_heads: int
    n_kv_heads: int
    head_dim: int

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut (..., H + 2 H_kv, d) into queries, keys and values, as views."""
        first, second = self.n_heads, self.n_heads + self.n_kv_heads
        return qkv[..., :first, :], qkv[..., first:second, :], qkv[..., second:, :]


@dataclass(frozen=True)
class Layer:
    """One transformer layer: attention and a gated MLP, each behind a root-mean-square norm."""

    attention_norm: Tensor
    qkv: Linear
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Linear
    mlp_norm: Tensor
    gate_up: Linear
    down: Linear


@dataclass(frozen=True)
class Decoder:
    """Everything between token ids and hidden states."""

    embeddings: Tensor
    layers: tuple[Layer, ...]
    norm: Tensor
    epsilon: float
    heads: Heads
    inverse_frequencies: Tensor

    def __call__(
        self, ids: Tensor, positions: Tensor, attend: Attend, wanted: Tensor | None = None, *, recompute: bool = False
    ) -> Tensor:
        """Return hidden states.

        Args:
            ids: Token ids, shape (T,): all rows of a batch, one after the other.
            positions: Each token's place in its own text, shape (T,).
            attend: Which token sees which is its business.
            wanted: Indices of the tokens whose states are needed, shape (W,); None is all.
            recompute: See `through`.

        Returns:
            Shape (W or T, D).
        """
        layers = range(len(self.layers))
        x = self.through(layers, self.embeddings[ids], positions, attend, wanted, recompute=recompute)
        return self.finish(x)

    def through(
        self,
        layers: range,
        x: Tensor,
        positions: Tensor,
        attend: Attend,
        wanted: Tensor | None = None,
        *,
        recompute: bool = False,
    ) -> Tensor:
        """Return what some layers make of states, shape (T, D); after the last one of all of the `wanted` alone.

        With `recompute` nothing but the layers' inputs is kept for a gradient (Chen et al. 2016, "Training Deep Nets
        with Sublinear Memory Cost"): a third more time, the same numbers.
        """
        angles = positions[:, None].float() * self.inverse_frequencies
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]  # (T, 1, d / 2)
        for index in layers:
            last = wanted if index + 1 == len(self.layers) else None
            if recompute:
                x = checkpoint(self._through_one, index, x, cos, sin, attend, last, use_reentrant=False)
            else:
                x = self._through_one(index, x, cos, sin, attend, last)
        return x

    def _through_one(
        self, index: int, x: Tensor, cos: Tensor, sin: Tensor, attend: Attend, wanted: Tensor | None
    ) -> Tensor:
        layer = self.layers[index]
        qkv = layer.qkv(self._normed(x, layer.attention_norm)).view(len(x), -1, self.heads.head_dim)
        attended = attend(index, self._rotated(qkv, layer, cos, sin))
        if wanted is not None:
            x, attended = x[wanted], attended[wanted]
        x = x + layer.output(attended)
        gated: Tensor = _Gated.apply(layer.gate_up(self._normed(x, layer.mlp_norm)))  # type: ignore[no-untyped-call]
        return x + layer.down(gated)

    def finish(self, x: Tensor) -> Tensor:
        """Return the hidden states of what came through all layers."""
        return self._normed(x, self.norm)

    def _normed(self, x: Tensor, gain: Tensor) -> Tensor:
        normed: Tensor = _Normed.apply(x, gain, self.epsilon)  # type: ignore[no-untyped-call]
        return normed

    def _rotated(self, qkv: Tensor, layer: Layer, cos: Tensor, sin: Tensor) -> Tensor:
        if layer.query_norm is not None and layer.key_norm is not None:
            query, key, value = self.heads.split(qkv)
            query, key = self._normed(query, layer.query_norm), self._normed(key, layer.key_norm)
            qkv = torch.cat([query, key, value], dim=1)
        n_rotated = self.heads.n_heads + self.heads.n_kv_heads
        rotated: Tensor = _Rotated.apply(qkv, cos, sin, n_rotated)  # type: ignore[no-untyped-call]
        return rotated


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn each pair (x_i, x_{i + d/2}) by its angle, in place."""
    first, second = heads.chunk(2, dim=-1)
    turned = (first * cos).addcmul_(second, sin, value=-1)
    second.mul_(cos).addcmul_(first, sin)
    first.copy_(turned)


class _Rotated(Function):
    """Rotary positions (Su et al. 2021, equation 34) on the first heads of each row, in place."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor, sin: Tensor, n_rotated: int) -> Tensor:
        ctx.mark_dirty(qkv)
        ctx.save_for_backward(cos, sin)
        ctx.n_rotated = n_rotated
        _rotate(qkv[:, :n_rotated], cos, sin)
        return qkv

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        grad = grads[0].clone()
        _rotate(grad[:, : ctx.n_rotated], cos, -sin)
        return grad, None, None, None


class _Normed(Function):
    """y = gain * x / rms(x) (Zhang and Sennrich 2019) with frozen gain; PyTorch's backward takes twice as long."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, epsilon: float) -> Tensor:
        ctx.save_for_backward(x, gain)
        ctx.epsilon = epsilon
        return rms_norm(x, gain.shape, gain, epsilon)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        x, gain = ctx.saved_tensors
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = mean_square.add_(ctx.epsilon).rsqrt_()  # (..., 1)
        grad = grads[0] * gain
        along = (grad * x).mean(-1, keepdim=True).mul_(inverse).mul_(inverse).neg_()
        return grad.addcmul_(x, along).mul_(inverse), None, None


class _Gated(Function):
    """silu(gate) * up from both side by side (Shazeer 2020, SwiGLU)."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        result = torch.empty_like(gate_up)
        grad_gate, grad_up = result.chunk(2, dim=-1)
        torch.mul(grads[0], nn.functional.silu(gate), out=grad_up)
        torch.ops.aten.silu_backward.grad_input(grads[0] * up, gate, grad_input=grad_gate)
        return result


def build_decoder(model: Any, make_linear: MakeLinear) -> Decoder | None:
    """Write out a transformers model, None if it is of a kind that is not known here.

    Args:
        model: A causal language model, or what PEFT made of one.
        make_linear: Makes the layers; what it does not copy is shared with the model.
    """
    if not can_be_written_out(model):
        return None
    body = _body(model)
    config = body.config
    layers = []
    for layer in body.layers:
        attention, mlp = layer.self_attn, layer.mlp
        layers.append(
            Layer(
                attention_norm=layer.input_layernorm.weight.detach(),
                qkv=make_linear([attention.q_proj, attention.k_proj, attention.v_proj]),
                query_norm=_gain(attention, "q_norm"),
                key_norm=_gain(attention, "k_norm"),
                output=make_linear([attention.o_proj]),
                mlp_norm=layer.post_attention_layernorm.weight.detach(),
                gate_up=make_linear([mlp.gate_proj, mlp.up_proj]),
                down=make_linear([mlp.down_proj]),
            )
        )
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Decoder(
        embeddings=body.embed_tokens.weight.detach(),
        layers=tuple(layers),
        norm=body.norm.weight.detach(),
        epsilon=config.rms_norm_eps,
        heads=Heads(config.num_attention_heads, config.num_key_value_heads, head_dim),
        inverse_frequencies=body.rotary_emb.inv_freq.detach(),
    )


def _body(model: Any) -> Any:
    body = model.base_model
    body = getattr(body, "model", body)  # PEFT's tuner stands around the causal model
    return getattr(body, "model", body)


def _gain(attention: Any, name: str) -> Tensor | None:
    norm = getattr(attention, name, None)
    return None if norm is None else norm.weight.detach()


def can_be_written_out(model: Any) -> bool:
    """Return whether a model is of a kind, in a type and on a device that `build_decoder` knows."""
    body = _body(model)
    config = body.config
    if config.model_type not in _MODEL_TYPES or config.hidden_act != "silu":
        return False
    weight = body.embed_tokens.weight
    if weight.device.type != "cpu" or weight.dtype != torch.float32 or getattr(config, "quantization_config", None):
        return False
    rope = body.rotary_emb
    sliding = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return rope.rope_type in _ROPE_TYPES and rope.attention_scaling == 1.0 and sliding is None
