"""The machine's own peak at the matrix products of a model, and how many of them a classifier needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.speed.alternate import Measurement, timed
from handful.llm.linear import Linear, frozen_linear


@dataclass(frozen=True)
class Products:
    """The weights of a decoder's layers, as (D_out, D_in): what is read from `qkv` to `down` (see `llm/decoder.py`)."""

    qkv: tuple[int, int]
    output: tuple[int, int]
    gate_up: tuple[int, int]
    down: tuple[int, int]
    n_layers: int

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """The four products of one layer."""
        return (self.qkv, self.output, self.gate_up, self.down)

    def needed_flops(self, n_tokens: int, n_answers: int) -> int:
        """Return the floating-point operations of reading some tokens, of which a few states are wanted.

        Two a weight and token. In the last layer only keys, queries and values are needed of the other tokens.
        """
        qkv, whole = _weights([self.qkv]), _weights(self.shapes)
        return 2 * (n_tokens * ((self.n_layers - 1) * whole + qkv) + n_answers * (whole - qkv))


def products_of(config: Any) -> Products:
    """Return the products of a Llama-like model from its configuration."""
    width, inner = config.hidden_size, config.intermediate_size
    head = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries, keys = head * config.num_attention_heads, head * config.num_key_value_heads
    return Products(
        (queries + 2 * keys, width), (width, queries), (2 * inner, width), (width, inner), config.num_hidden_layers
    )


class Peak:
    """Nothing but the matrix products of a whole model, each layer with weights of its own.

    Distinct weights, since a model's do not fit into the caches either.
    """

    def __init__(self, products: Products, rows: int) -> None:
        self._rows = rows
        self._layers: list[tuple[Linear, torch.Tensor]] = []
        inputs = {width: torch.randn(rows, width) for _, width in products.shapes}
        for _ in range(products.n_layers):
            for out, width in products.shapes:
                self._layers.append((frozen_linear(torch.randn(out, width)), inputs[width]))
        self._flops = 2 * rows * products.n_layers * _weights(products.shapes)

    @torch.inference_mode()
    def measure(self, passes: int) -> Measurement:
        """Return operations and seconds of some passes through the model's products."""

        def work() -> float:
            for _ in range(passes):
                for multiply, x in self._layers:
                    multiply(x)
            return float(passes * self._flops)

        return timed(work)


def _weights(shapes: Sequence[tuple[int, int]]) -> int:
    return sum(out * width for out, width in shapes)
