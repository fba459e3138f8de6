"""Label scores the slow way: one whole prompt with one label at a time through plain transformers, no cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from handful.encoding import encode, encode_text
from handful.llm.loading import LoadedModel
from handful.llm.protocol import FloatArray
from handful.prompts import Prompt


def plain_scores(
    loaded: LoadedModel, prompts: Sequence[Prompt], targets: Sequence[str], max_text_tokens: int = 512
) -> FloatArray:
    """Sum of log-probabilities: the first token among the labels' first tokens, later ones among the vocabulary."""
    labels = [encode_text(target, loaded.tokenizer) for target in targets]
    if any(a != b and b[: len(a)] == a for a in labels for b in labels):
        labels = [[*label, *encode_text("\n", loaded.tokenizer)] for label in labels]
    first = sorted({label[0] for label in labels})
    rows = []
    for prompt in prompts:
        encoded = encode(prompt, loaded.tokenizer, max_text_tokens=max_text_tokens)
        head = [*encoded.prefix_ids, *encoded.suffix_ids]
        scores = []
        for label in labels:
            with torch.inference_mode():
                logits = loaded.model(torch.tensor([[*head, *label]]), use_cache=False).logits[0]
            log_probs = logits[len(head) - 1 : -1].double().log_softmax(-1)
            root = logits[len(head) - 1, first].double().log_softmax(-1)
            later = sum(float(log_probs[at, token]) for at, token in enumerate(label) if at)
            scores.append(float(root[first.index(label[0])]) + later)
        rows.append(scores)
    return np.array(rows)
