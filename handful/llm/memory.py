"""What the states of a model's tokens take."""

from __future__ import annotations

from typing import Any

_SHARE_OF_FREE_MEMORY = 0.4
"""For the states of the texts read or written together; what layers compute on the way needs room too."""


def bytes_per_token(model: Any) -> int:
    """Return what the keys and values of a token take, over all layers."""
    config = model.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    n_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * int(config.num_hidden_layers) * int(n_heads) * int(head_dim) * int(model.dtype.itemsize)


def tokens_within(model: Any, free_bytes: int) -> int:
    """Return of how many tokens the states fit into the memory that is free beside the weights, 1,024 at least."""
    return max(1024, int(_SHARE_OF_FREE_MEMORY * free_bytes) // bytes_per_token(model))
