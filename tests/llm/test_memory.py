from __future__ import annotations

from handful.llm.loading import LoadedModel
from handful.llm.memory import bytes_per_token, tokens_within


def test_states_are_keys_and_values_of_every_layer(tiny_loaded: LoadedModel) -> None:
    # 2 layers, 2 key-value heads of 8 numbers of 4 bytes, keys and values.
    assert bytes_per_token(tiny_loaded.model) == 2 * 2 * 2 * 8 * 4
    assert tokens_within(tiny_loaded.model, 256 * 100_000) == 40_000
    assert tokens_within(tiny_loaded.model, 0) == 1024
