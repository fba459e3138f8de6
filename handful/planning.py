"""What a run will do and about how long it takes, before it starts: arithmetic on a task and a recipe, no model.

The rates are those of SmolLM2-135M on two cores of a server CPU with AVX-512 and its bfloat16 (docs/experiments.md,
2026-11-27, "`default` from examples to classifier"). They say what order of magnitude to expect, and scale with the
size of the model and the machine's speed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from handful.demonstrations import split_folds
from handful.evaluation.methods import RUN_METHODS
from handful.generate import Tally, plan_round
from handful.in_context_tuning import episode, n_steps
from handful.llm.label_trie import FEW_NODES, LabelTrie, build_label_trie
from handful.prompts import Segment, classification_prefix
from handful.recipe import Recipe
from handful.records import TrainingExample
from handful.task import Task
from handful.training_plan import MOST_TOKENS_KEPT, TrainingPlan, tokens_per_row
from handful.training_set import POOL_TEXTS
from handful.words import count_bytes, count_words

TOKENS_PER_WORD = 1.3
"""English text in byte-level BPE vocabularies of about 50,000 tokens; code needs more."""
TOKENS_PER_FOREIGN_BYTE = 0.6
"""Of what is not ASCII: such a vocabulary has few pieces of other scripts (of Russian, Greek, Hindi,
Arabic, Thai, Chinese and Japanese sentences 0.51 to 0.65, of a Korean one 0.95)."""
WRITTEN_TOKENS_PER_SECOND = 320.0
"""One token per forward pass, up to 192 texts at once: 384 news of about 50 tokens in 61 s."""
READ_TOKENS_PER_SECOND = 1100.0
"""Whole texts per forward pass, behind demonstrations: 384 news in 23 s, 576 questions in 14 s."""
TRAINED_TOKENS_PER_SECOND = 320.0
"""Through all layers, forward and the gradient of the activations, attention included: a judge's step takes 2.3 s on
news and 1.8 s on questions."""
LAYOUT_TOKENS = 8
"""Around each text: its name, `Label:` and a label."""
SECONDS_PER_STEP = 0.05
"""Of a training step however small: optimizer, gradient clipping, Python."""
PARAMETERS = 134_500_000
"""Of SmolLM2-135M."""
BYTES_PER_PARAMETER = 8
"""Float32, packed once for the forward and once for the backward pass of the training."""
BASE_BYTES = 600_000_000
"""PyTorch, transformers and the blocks the allocator keeps."""
BYTES_PER_TRAINED_TOKEN = 1_500_000
"""Activations kept for the gradient: about 30 layers of 12 vectors of 576 to 1,536 floats."""
RECOMPUTED = 1 / 3
"""More of a step's time where what the layers compute is computed again."""
INPUTS_ALONE = 0.15
"""Of its memory then: the inputs of the layers, and one layer's activations."""
CONTEXT_TOKENS = 8192
"""Of SmolLM2-135M's context."""
_PIECE = re.compile(r" ?[A-Za-z]{1,8}| ?[^A-Za-z\s]")
"""A word of more than eight letters is taken for two tokens, and any other sign, Chinese ones too, for one."""
_PROMPT_WORDS = 25
"""Instruction and layout of one prompt, without its examples."""


@dataclass(frozen=True)
class Plan:
    """What a run will do; tokens, minutes and bytes are estimates."""

    prompts: int
    """Prompts of the first round of writing."""
    candidates: int
    """Texts of the first round; later rounds write what is missing then."""
    most_candidates: int
    """Texts of all rounds at most."""
    prompt_tokens: int
    """Of one writing prompt."""
    written_tokens: int
    """Of the first round."""
    training_examples: int
    training_steps: int
    minutes: float
    """Of one round of writing and checking, training, and measuring."""
    judge_prompt_tokens: int
    """Of the longest prompt of a judge, without the text that is asked for."""
    cut_examples: int
    """Examples that are probably longer than the recipe's `max_text_tokens`."""
    label_tokens: int
    """Of the labels, read behind every text that is labelled; see `llm/label_trie.py`."""
    memory_bytes: int
    """Most memory the process takes."""


def make_plan(task: Task, recipe: Recipe) -> Plan:
    """Return what a run of a task will do."""
    batches = plan_round(0, dict.fromkeys(task.label_names, Tally()), recipe)
    candidates = sum(batch.n_candidates for batch in batches)
    lengths = [_tokens_of(example.text) for example in task.examples]
    most = recipe.prompt.max_text_tokens
    text_tokens = max(1.0, sum(min(most, own) for own in lengths) / len(lengths))
    limits = recipe.generate
    shots = len(task.examples) / len(task.labels)
    shown = min(shots, limits.demonstrations_per_prompt or shots)
    prompt_tokens = TOKENS_PER_WORD * _PROMPT_WORDS + shown * text_tokens
    label_prompt = TOKENS_PER_WORD * _PROMPT_WORDS + sum(len(_pieces(own)) for own in task.verbalizers.values())
    written = min(limits.synthetic_per_label, limits.most_candidates) * len(task.labels)
    training, baseline = _training(written, task, recipe), _training(0, task, recipe)
    trie, read_tokens = _label_trie(task), text_tokens + LAYOUT_TOKENS
    step = _Step(label_prompt, recipe.train.batch_size * (read_tokens + _nodes_learnt(trie)))
    steps = training.n_steps + (baseline.n_steps if task.test and candidates else 0)
    share = recipe.train.lora_layer_share
    judge_steps, judge_step = _judge_tuning(task, recipe, trie)
    pool = min(candidates, POOL_TEXTS)
    labelled = recipe.filter.judges * candidates + _measured_texts(task, pool)
    seconds = (
        candidates * text_tokens / WRITTEN_TOKENS_PER_SECOND
        + labelled * (read_tokens + trie.n_nodes) / READ_TOKENS_PER_SECOND
        + judge_steps * (SECONDS_PER_STEP + judge_step.read_tokens / TRAINED_TOKENS_PER_SECOND)
        + steps * (SECONDS_PER_STEP + share * step.read_tokens / TRAINED_TOKENS_PER_SECOND)
    )
    kept_tokens = max(share * step.kept_tokens, judge_step.kept_tokens)
    return Plan(
        prompts=len(batches),
        candidates=candidates,
        most_candidates=len(task.labels) * limits.most_candidates,
        prompt_tokens=round(prompt_tokens),
        written_tokens=round(candidates * text_tokens),
        training_examples=len(training.rows),
        training_steps=training.n_steps,
        minutes=seconds / 60,
        judge_prompt_tokens=round(_judge_prompt_tokens(task, recipe)),
        cut_examples=sum(own > most for own in lengths),
        label_tokens=trie.n_nodes,
        memory_bytes=round(BASE_BYTES + PARAMETERS * BYTES_PER_PARAMETER + kept_tokens * BYTES_PER_TRAINED_TOKEN),
    )


def warnings_of(plan: Plan, recipe: Recipe) -> list[str]:
    """Return what a user should know before the run starts."""
    most, said = recipe.prompt.max_text_tokens, []
    if plan.cut_examples:
        count = f"{plan.cut_examples} example{'s are' if plan.cut_examples > 1 else ' is'}"
        said.append(f"{count} probably longer than {most} tokens (prompt.max_text_tokens): the middle is left out")
    if plan.judge_prompt_tokens + most > CONTEXT_TOKENS:
        # What a tuned judge is shown of each example is cut already.
        tuned = recipe.filter.judge == "tuned"
        shorten = "shorten the labels" if tuned else "cut the texts shorter (--set prompt.max_text_tokens=...)"
        said.append(
            f"a judge's prompt has about {plan.judge_prompt_tokens:,} tokens, smollm2-135m reads {CONTEXT_TOKENS:,}: "
            f"{shorten}, or take a model that reads more"
        )
    if plan.label_tokens > FEW_NODES:
        said.append(
            f"about {plan.label_tokens} tokens of the labels are read behind every text, since every label is scored: "
            "with one word for each as its verbalizer, texts are labelled several times as fast"
        )
    return said


@dataclass(frozen=True)
class _Step:
    """A training step: the tokens of its prefix, and of the texts behind it."""

    prefix_tokens: float
    text_tokens: float

    @property
    def read_tokens(self) -> float:
        n_rows = math.ceil(self.text_tokens / tokens_per_row(round(self.prefix_tokens)))
        read = n_rows * self.prefix_tokens + self.text_tokens
        return read * (1 + RECOMPUTED) if self._row_tokens > MOST_TOKENS_KEPT else read

    @property
    def kept_tokens(self) -> float:
        """As many tokens whose activations are all kept would take as much memory."""
        return self._row_tokens * (INPUTS_ALONE if self._row_tokens > MOST_TOKENS_KEPT else 1)

    @property
    def _row_tokens(self) -> float:
        return self.prefix_tokens + min(self.text_tokens, tokens_per_row(round(self.prefix_tokens)))


def _tokens_of(text: str) -> float:
    foreign = sum(len(character.encode("utf-8", "replace")) for character in text if not character.isascii())
    words = count_words("".join(character if character.isascii() else " " for character in text))
    return TOKENS_PER_WORD * words + TOKENS_PER_FOREIGN_BYTE * foreign


def _tokens_of_layout(text: str) -> float:
    return len(_pieces(text)) if text.isascii() else _tokens_of(text)


def _label_trie(task: Task) -> LabelTrie:
    number: dict[str, int] = {"\n": 0}
    spelled = [tuple(number.setdefault(p, len(number)) for p in _pieces(own)) for own in task.verbalizers.values()]
    return build_label_trie(list(dict.fromkeys(spelled)), [number["\n"]])


def _pieces(text: str) -> list[str]:
    """Return about what a byte-level vocabulary makes of a text; texts of other words have other pieces."""
    return _PIECE.findall(" " + " ".join(text.split()))


def _nodes_learnt(trie: LabelTrie) -> float:
    """Return how many label tokens a training reads behind a text."""
    if trie.is_small:
        return trie.n_nodes
    return sum(len(trie.nodes_of([label])) for label in range(len(trie.steps))) / len(trie.steps)


def _judge_prompt_tokens(task: Task, recipe: Recipe) -> float:
    if not recipe.generate.synthetic_per_label:
        return 0.0
    if recipe.filter.judge == "in_context":
        folds = split_folds(task, 0, cross_fit=recipe.filter.cross_fit)
        shown: Sequence[Segment] = classification_prefix(task, max(folds, key=len))
    else:
        shown = episode(task, 0, 0).prefix
    return _tokens(shown, recipe)


def _tokens(segments: Sequence[Segment], recipe: Recipe) -> float:
    """Return how many tokens segments have, examples cut as they are when they are read."""
    most = recipe.prompt.max_text_tokens
    return sum(
        min(most, _tokens_of(segment.text)) if segment.is_example else _tokens_of_layout(segment.text)
        for segment in segments
    )


def _judge_tuning(task: Task, recipe: Recipe, trie: LabelTrie) -> tuple[int, _Step]:
    """Return the steps of all judges' tuning, and one of them."""
    settings = recipe.filter
    if settings.judge == "in_context" or not recipe.generate.synthetic_per_label:
        return 0, _Step(0.0, 0.0)
    first = episode(task, 0, 0)
    asked = [Segment(row.text, is_example=True) for row in first.rows]
    behind = LAYOUT_TOKENS + _nodes_learnt(trie)
    step = _Step(_tokens(first.prefix, recipe), _tokens(asked, recipe) + behind * len(asked))
    return settings.judges * n_steps(task, settings), step


def _measured_texts(task: Task, pool: int) -> int:
    """Return how many texts are read in evaluation: test set and pool, by each method of a run."""
    n_methods = len(RUN_METHODS) if pool else len(RUN_METHODS) - 1  # nothing written: LoRA-k is what is tuned
    return n_methods * (len(task.test) + pool) if task.test else 0


def _training(n_written: int, task: Task, recipe: Recipe) -> TrainingPlan:
    n_bytes = sum(count_bytes(example.text) for example in task.examples)
    text = "x" * (n_bytes // len(task.examples))
    real, written = (TrainingExample(text, "", source) for source in ("real", "synthetic"))
    rows = (real,) * len(task.examples) + (written,) * n_written
    return TrainingPlan((), (), task.label_names, rows, recipe.train, recipe.prompt, 0)
