"""How fast one layer's largest matrix product is, by the kernel that computes it.

    python benchmarks/kernels.py

prints one JSON object: GFLOP/s by kernel and number of rows, for 3,072 x 576 weights, 20 different ones in turn.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence

import handful.llm  # noqa: F401  # sets how long threads spin, which must be before torch is imported

# isort: split
import torch
from torch import Tensor

from handful.llm.linear import frozen_linear

_OUT, _IN, _WEIGHTS, _SECONDS = 3072, 576, 20, 0.5
_ROWS = (16, 160, 1024)


def gflops(layers: Sequence[Callable[[Tensor], Tensor]], rows: int) -> float:
    """Return the rate of applying the layers in turn."""
    x = torch.randn(rows, _IN)
    turns = itertools.cycle(layers)
    for _ in layers:
        next(turns)(x)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < _SECONDS:
        next(turns)(x)
        count += 1
    return round(2 * rows * _IN * _OUT * count / (time.perf_counter() - started) / 1e9)


def main() -> None:
    """Measure and print."""
    weights = [torch.randn(_OUT, _IN) for _ in range(_WEIGHTS)]
    kernels: dict[str, list[Callable[[Tensor], Tensor]]] = {
        "nn.Linear": [torch.nn.Linear(_IN, _OUT, bias=False) for _ in weights],
        "float32, packed": [frozen_linear(weight) for weight in weights],
        "bfloat16": [frozen_linear(weight, precision="bfloat16") for weight in weights],
        "int8": [frozen_linear(weight, precision="int8") for weight in weights],
    }
    with torch.inference_mode():
        rates = {name: {rows: gflops(layers, rows) for rows in _ROWS} for name, layers in kernels.items()}
    print(json.dumps({"gflops": rates, "capability": torch.backends.cpu.get_cpu_capability()}))


if __name__ == "__main__":
    main()
