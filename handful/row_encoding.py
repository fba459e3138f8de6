"""Training rows and plan in, token ids and targets out: what the loss is taken of, in the order of the steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from handful.encoding import EncodedPrompt, encode, encode_text
from handful.llm.label_trie import LabelTrie, build_label_trie
from handful.llm.loading import LoadedModel
from handful.prompts import Segment, classification_prompt
from handful.records import TrainingExample
from handful.seeding import stream
from handful.training_plan import TrainingPlan

_POSSIBLE = 0.02
"""Of the likeliest label's probability: of a tree of many nodes only labels that have so much are learnt."""


@dataclass(frozen=True)
class EncodedRow:
    """One row ready for the loss."""

    prompt: EncodedPrompt
    target_ids: tuple[int, ...]
    soft_target: tuple[float, ...]
    weight: float
    nodes: tuple[int, ...]
    """Of the label tree, that are read behind it."""
    n_tokens: int
    """That it takes in a packed row, behind the prefix."""


def label_trie_of(loaded: LoadedModel, plan: TrainingPlan) -> LabelTrie:
    """Return the labels of a training as a tree of the model's tokens."""
    ids = [encode_text(target, loaded.tokenizer) for target in plan.targets]
    return build_label_trie(ids, encode_text("\n", loaded.tokenizer))


def encode_rows(
    loaded: LoadedModel, plan: TrainingPlan, trie: LabelTrie
) -> tuple[list[EncodedRow], Callable[[int], list[EncodedRow]]]:
    """Encode all there is to be learnt, to know at once what does not fit.

    Returns:
        The rows behind the one prefix, if there is one, and what gives the batch of a step.

    Raises:
        ModelError: A prompt with its label does not fit the model.
    """
    if plan.episodes:
        steps = [[_encode_row(loaded, plan, trie, e.prefix, row) for row in e.rows] for e in plan.episodes]
        return [], steps.__getitem__
    examples = [_encode_row(loaded, plan, trie, plan.prefix, row) for row in plan.rows]
    order_of = functools.lru_cache(maxsize=1)(functools.partial(_order, plan))

    def batch(step: int) -> list[EncodedRow]:
        epoch, index = divmod(step, plan.steps_per_epoch)
        start = index * plan.train.batch_size
        return [examples[row] for row in order_of(epoch)[start : start + plan.train.batch_size]]

    return examples, batch


def _encode_row(
    loaded: LoadedModel, plan: TrainingPlan, trie: LabelTrie, prefix: tuple[Segment, ...], row: TrainingExample
) -> EncodedRow:
    label = plan.labels.index(row.label)
    target = (*encode_text(plan.targets[label], loaded.tokenizer), *encode_text("\n", loaded.tokenizer))
    prompt = encode(
        classification_prompt(prefix, row.text, plan.prompt.format),
        loaded.tokenizer,
        max_text_tokens=plan.prompt.max_text_tokens,
        context_length=loaded.context_length,
        room=max(len(target), trie.n_nodes),
    )
    soft = row.label_probabilities or tuple(float(index == label) for index in range(len(plan.labels)))
    if not trie.is_small:
        soft = _possible(soft)
    nodes = trie.nodes_of(index for index, share in enumerate(soft) if share or trie.is_small)
    n_behind = len(nodes) if plan.train.loss == "label" else len(target)
    return EncodedRow(prompt, target, soft, row.weight, nodes, len(prompt.suffix_ids) + n_behind)


def _possible(soft: Sequence[float]) -> tuple[float, ...]:
    """Return a label distribution without the labels that a text hardly has."""
    least = _POSSIBLE * max(soft)
    total = sum(share for share in soft if share >= least)
    return tuple(share / total if share >= least else 0.0 for share in soft)


def _order(plan: TrainingPlan, epoch: int) -> list[int]:
    return stream(plan.seed, "train-order", epoch).sample(range(len(plan.rows)), len(plan.rows))
