"""Our tuned classifier against the plain loop: what both figures of it share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from benchmarks.speed.alternate import Comparison, Measurement, alternate, timed
from benchmarks.speed.plain import BATCH, first_tokens, plain_label_log_probs, whole_prompts
from benchmarks.speed.settings import DisagreementError
from handful.classifier import Classifier
from handful.llm.loading import LoadedModel

_TOLERANCE = 1e-3
"""In nats: float32 sums of another order."""


def require_agreement(ours: ArrayLike, reference: ArrayLike, what: str, tolerance: float = _TOLERANCE) -> float:
    """Return the largest difference between two arrays.

    Raises:
        DisagreementError: It is above the tolerance.
    """
    largest = float(np.abs(np.asarray(ours) - np.asarray(reference)).max())
    if not largest <= tolerance:
        raise DisagreementError(f"{what}: scores differ by {largest:.2g}, at most {tolerance:.2g} is rounding")
    return largest


def against_plain_loop(
    name: str,
    ours: Classifier,
    same_prompt: Classifier,
    loaded: LoadedModel,
    texts_by_repeat: Sequence[Sequence[str]],
    batch: int = BATCH,
) -> tuple[Comparison, dict[str, Any]]:
    """Time our classifier and the plain loop on the same texts.

    Args:
        name: For the progress.
        ours: What is timed.
        same_prompt: Our classifier with the model and the prompt of the plain loop; its scores must be the loop's.
        loaded: The loop's model.
        texts_by_repeat: The texts of each pair.
        batch: Prompts per forward pass of the loop.

    Returns:
        The comparison, and facts about it: largest difference of scores, mean tokens of a whole prompt.
    """
    spec, tokenizer = same_prompt.spec, loaded.tokenizer
    labels = first_tokens(spec.targets, tokenizer)
    rows = [whole_prompts(spec.prefix, texts, tokenizer, spec.max_text_tokens) for texts in texts_by_repeat]

    def loop(prompts: Sequence[Sequence[int]]) -> Any:
        return plain_label_log_probs(loaded.model, prompts, labels, pad=tokenizer.pad_token_id, batch=batch)

    some = slice(0, batch)
    difference = require_agreement(same_prompt.log_probs(texts_by_repeat[0][some]), loop(rows[0][some]), name)
    ours.log_probs(texts_by_repeat[0])

    def our_side(repeat: int) -> Measurement:
        return timed(lambda: len(ours.log_probs(texts_by_repeat[repeat])))

    def loop_side(repeat: int) -> Measurement:
        return timed(lambda: len(loop(rows[repeat])))

    comparison = alternate(name, our_side, loop_side, len(texts_by_repeat))
    lengths = [len(row) for group in rows for row in group]
    facts = {"largest_difference": difference, "prompt_tokens": float(np.mean(lengths)), "batch": batch}
    return comparison, facts
