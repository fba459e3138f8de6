"""How a cost grows: the exponent of a power law fitted to measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fitted_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return b of cost = a size^b, by least squares on the logarithms; sizes of 0 are left out.

    Below 1 where a fixed cost is shared out, 1 is linear.
    """
    points = [(size, cost) for size, cost in zip(sizes, costs, strict=True) if size > 0]
    if len({size for size, _ in points}) < 2:
        raise ValueError("two different sizes above 0 are needed")
    logs = np.log(np.array(points))
    return float(np.polyfit(logs[:, 0], logs[:, 1], deg=1)[0])


def last_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent between the two largest sizes: where fixed costs count least."""
    points = sorted(zip(sizes, costs, strict=True))[-2:]
    return fitted_exponent([size for size, _ in points], [cost for _, cost in points])
