"""The plain Hugging Face loop: the whole prompt of every text through the model, in padded batches, no cache.

As the library's documentation sets up batched scoring: evaluation mode, `inference_mode`, texts sorted by length,
padded on the left so that all answers stand in the last column, logits of that column alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handful.encoding import encode, encode_text
from handful.prompts import Segment, classification_prompt

BATCH = 16


def whole_prompts(
    prefix: tuple[Segment, ...], texts: Sequence[str], tokenizer: Any, max_text_tokens: int
) -> list[list[int]]:
    """Return the token ids of each text's whole prompt, the same ids our classifier reads.

    They are made outside the loop that is timed: batched tokenising would cost it some tenths of a millisecond a text.
    """
    encoded = [
        encode(classification_prompt(prefix, text), tokenizer, max_text_tokens=max_text_tokens) for text in texts
    ]
    return [[*prompt.prefix_ids, *prompt.suffix_ids] for prompt in encoded]


def first_tokens(targets: Sequence[str], tokenizer: Any) -> list[int]:
    """Return the one token of each label.

    Raises:
        ValueError: A label has several tokens, or two have the same one.
    """
    ids = [encode_text(target, tokenizer) for target in targets]
    if any(len(label) != 1 for label in ids) or len({label[0] for label in ids}) < len(ids):
        raise ValueError("the plain loop reads labels of one token")
    return [label[0] for label in ids]


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> dict[str, torch.Tensor]:
    """Return `input_ids` and `attention_mask` of rows that end in the same column."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, width - len(row) :] = torch.tensor(row)
        mask[index, width - len(row) :] = 1
    return {"input_ids": ids, "attention_mask": mask}


@torch.inference_mode()
def plain_label_log_probs(
    model: Any, rows: Sequence[Sequence[int]], label_ids: Sequence[int], *, pad: int, batch: int = BATCH
) -> NDArray[np.float64]:
    """Return the log-probabilities of the labels' tokens after each prompt, among themselves.

    Args:
        model: A causal language model of transformers.
        rows: Token ids of the prompts.
        label_ids: The token of each label.
        pad: Padding token.
        batch: Prompts per forward pass.

    Returns:
        Shape (n_prompts, n_labels), in the order of the prompts.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    scores = np.empty((len(rows), len(label_ids)))
    for start in range(0, len(order), batch):
        members = order[start : start + batch]
        inputs = left_padded([rows[index] for index in members], pad)
        logits = model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1, list(label_ids)]
        scores[members] = logits.log_softmax(-1).double().numpy()
    return scores
