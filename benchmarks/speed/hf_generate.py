"""Writing with `model.generate` as its documentation sets up a batch: padded on the left, several end tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.speed.plain import left_padded

BATCH = 64


@torch.inference_mode()
def hf_generate(
    model: Any,
    prompts: Sequence[Sequence[int]],
    stop: Sequence[int],
    *,
    pad: int,
    max_new_tokens: int,
    top_k: int,
    temperature: float = 1.0,
    greedy: bool = False,
    batch: int = BATCH,
) -> list[list[int]]:
    """Continue each prompt; a row that has ended is padded until its batch has.

    Args:
        model: A causal language model of transformers.
        prompts: Token ids, one entry for each row.
        stop: Tokens that end a row.
        pad: Padding token.
        max_new_tokens: At most so many.
        top_k: Sample among so many.
        temperature: Of the sampling.
        greedy: Take the likeliest token instead.
        batch: Rows side by side.

    Returns:
        The new token ids of each row, with what stands behind its end.
    """
    choice: dict[str, Any] = (
        {"do_sample": False} if greedy else {"do_sample": True, "top_k": top_k, "temperature": temperature}
    )
    if not greedy:
        choice["top_p"] = 1.0
    rows: list[list[int]] = []
    for start in range(0, len(prompts), batch):
        inputs = left_padded(prompts[start : start + batch], pad)
        output = model.generate(
            **inputs, **choice, max_new_tokens=max_new_tokens, eos_token_id=list(stop), pad_token_id=pad
        )
        rows += output[:, inputs["input_ids"].shape[1] :].tolist()
    return rows
