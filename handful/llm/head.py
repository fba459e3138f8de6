"""From hidden states to logits: output embeddings, and what some models do to the logits afterwards.

Granite divides them, Cohere multiplies them, Gemma caps them, Phi adds a bias: labels scored without it are far too
sure, and texts are sampled at another temperature than asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from handful.errors import ModelError
from handful.llm.linear import Linear


@dataclass(frozen=True)
class Head:
    """The last step of a causal language model."""

    weight: Tensor
    """Output embeddings, shape (V, D)."""
    bias: Tensor | None = None
    """Shape (V,)."""
    scale: float = 1.0
    cap: float | None = None
    """Logits are squeezed into (-cap, cap) by the hyperbolic tangent."""

    def logits(self, hidden: Tensor, rows: Sequence[int] | None = None, *, product: Linear | None = None) -> Tensor:
        """Return float32 logits of hidden states.

        Args:
            hidden: Shape (..., D).
            rows: Tokens whose logits are wanted, multiplied in float32 whatever the model is in: of a logit of 20
                bfloat16 leaves steps of an eighth. None is the whole vocabulary.
            product: What multiplies by the whole weight instead, without the bias.

        Returns:
            Shape (..., len(rows) or V), differentiable.
        """
        bias = self.bias
        if rows is not None:
            index = torch.tensor(rows, device=self.weight.device)
            raw = hidden.float() @ self.weight[index].float().T
            bias = None if bias is None else bias[index]
        else:
            raw = (hidden @ self.weight.T if product is None else product(hidden)).float()
        shifted = raw if bias is None else raw + bias.float()
        scaled = shifted if self.scale == 1 else shifted * self.scale
        return scaled if self.cap is None else self.cap * torch.tanh(scaled / self.cap)


def head_of(model: Any) -> Head:
    """Return the head of a causal language model, or of one with an adapter around it."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    embeddings, config = model.get_output_embeddings(), model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    return Head(
        embeddings.weight,
        getattr(embeddings, "bias", None),
        scale * float(getattr(config, "lm_head_multiplier", None) or 1.0),
        getattr(config, "final_logit_softcapping", None),
    )


def check_head(model: Any, name: str) -> None:
    """Check on a few tokens that the model's own logits are those of its head.

    Raises:
        ModelError: They are not: something is done to them that is not known here.
    """
    ids = torch.arange(1, 5, device=model.get_output_embeddings().weight.device)[None]
    with torch.inference_mode():
        own = model(ids, use_cache=False).logits.float()
        ours = head_of(model).logits(model.base_model(ids, use_cache=False).last_hidden_state)
    # Of bfloat16 and float16 some digits are lost on either way.
    if not torch.allclose(own, ours, rtol=2e-2, atol=2e-2 * float(own.abs().max())):
        raise ModelError(
            f"{name!r} makes its logits in a way that is not known here",
            mend="Take another model: Llama, Mistral, Qwen, Gemma 3, Granite and others like them are known.",
        )
