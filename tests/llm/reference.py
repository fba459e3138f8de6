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
    """Sum of log-probabilities: the first token among the labels' first tokens, later ones among the vocabulary.

    Of a tree of more than 32 nodes later ones too among what labels that begin so go on with.
    """
    labels = [encode_text(target, loaded.tokenizer) for target in targets]
    end = encode_text("\n", loaded.tokenizer)
    begins_another = [any(a != b and b[: len(a)] == a for b in labels) for a in labels]
    ended = [[*label, *end] if any(begins_another) else label for label in labels]
    among_labels = len({tuple(label[:depth]) for label in ended for depth in range(1, len(label))}) > 32
    if among_labels:
        ended = [[*label, *end] if begins else label for label, begins in zip(labels, begins_another, strict=True)]
    labels = ended
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
            score = float(root[first.index(label[0])])
            for at, token in enumerate(label):
                if at and among_labels:
                    others = {other[at] for other in labels if other[:at] == label[:at]}
                    score += float(log_probs[at, token] - log_probs[at, sorted(others)].logsumexp(-1))
                elif at:
                    score += float(log_probs[at, token])
            scores.append(score)
        rows.append(scores)
    return np.array(rows)
