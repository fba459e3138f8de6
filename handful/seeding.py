"""One seed per run; every random choice derives its own stream from the seed and the name of its place.

The order of calls, the batch size and resuming therefore cannot change a result.
"""

from __future__ import annotations

import hashlib
import json
import random

import numpy as np


def derive_seed(seed: int, *place: str | int) -> int:
    """Return a 32-bit seed that depends only on the run seed and the named place.

    >>> derive_seed(0, "generate", "billing", 3) == derive_seed(0, "generate", "billing", 3)
    True
    """
    digest = hashlib.sha256(json.dumps([seed, *place], ensure_ascii=False).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")


def stream(seed: int, *place: str | int) -> random.Random:
    """Return the stdlib generator of a place: for shuffling and sampling of lists."""
    return random.Random(derive_seed(seed, *place))


def array_stream(seed: int, *place: str | int) -> np.random.Generator:
    """Return the numpy generator of a place: for arrays of noise."""
    return np.random.Generator(np.random.Philox(derive_seed(seed, *place)))
