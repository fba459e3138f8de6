"""What a training is to learn, without the means to do it: no torch here."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from handful.prompts import Segment
from handful.recipe import PRESETS, PromptRecipe, TrainRecipe
from handful.records import TrainingExample
from handful.words import count_bytes

_FEW_LABELS = 22
"""Of more labels recipe `default` learns fewer than its N texts of each; see `generate.synthetic_in_all`."""
_LEAST_EPOCHS = 3
"""Of many labels, of which an epoch shows few texts of each: on 53 labels 3.6 points more than one epoch, on 20
labels 0.4 (docs/experiments.md, 2026-11-27)."""
_BYTES_OF_A_TEXT = 90
"""What `max_steps` is meant for. Of longer ones fewer steps read as much: of 200 bytes 60, 120 and 200 are alike
(docs/experiments.md, 2026-11-28)."""
_MANY_REAL = 5
"""Real examples are many where one in so many of the rows is one: 25 of each label beside 72 written ones."""
_PASSES_OF_MANY = 6
"""Over them, unless alone they would be passed less often: with 25 questions of each label six passes instead of the
2.8 that `max_steps` gave are worth 2 points (docs/experiments.md, 2026-11-28). A handful gains nothing from more."""
_LIMITS_OF_PRESETS = {(preset.train.min_steps, preset.train.max_steps) for preset in PRESETS.values()}
"""A `max_steps` set by hand bounds these passes, too."""
_MOST_BYTES_OF_A_TEXT = 2000
"""Of a very long one little more is read (`prompt.max_text_tokens`)."""


TOKENS_PER_ROW = 1024
"""A step's texts are packed into rows and cut here. Each row reads the prefix."""
MOST_TOKENS_KEPT = 2048
"""Of a longer row, its prefix included, what the layers compute is computed again on the way back instead of kept."""


def tokens_per_row(n_prefix: int) -> int:
    """Return how many tokens of texts stand in a row: behind a long prefix more, so that it is read less often."""
    return TOKENS_PER_ROW if n_prefix <= TOKENS_PER_ROW else 4 * n_prefix


class CheckpointStore(Protocol):
    """Where checkpoints survive a crash; `tuning.py` makes one of the run directory."""

    def load(self) -> bytes | None:
        """Return the newest whole checkpoint, if any."""
        ...

    def save(self, data: bytes) -> None:
        """Write a checkpoint so that a crash leaves it whole or absent."""
        ...


@dataclass(frozen=True)
class Episode:
    """One step of an in-context tuning: what its prompt shows, and the texts it asks for."""

    prefix: tuple[Segment, ...]
    rows: tuple[TrainingExample, ...]


@dataclass(frozen=True)
class TrainingPlan:
    """What is to be learnt, in the words of the classifier that will use it."""

    prefix: tuple[Segment, ...]
    targets: tuple[str, ...]
    """Continuation of each label, in the order of `labels`."""
    labels: tuple[str, ...]
    rows: tuple[TrainingExample, ...]
    train: TrainRecipe
    prompt: PromptRecipe
    seed: int
    episodes: tuple[Episode, ...] = ()
    """If any, each is a step, with a prefix and rows of its own, instead of epochs of `rows` behind `prefix`."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the rows."""
        return math.ceil(len(self.rows) / self.train.batch_size)

    @property
    def epochs(self) -> int:
        """Passes over the rows: the recipe's, or as many as its `min_steps` needs."""
        return max(self.train.epochs, math.ceil(self.train.min_steps / self.steps_per_epoch))

    @cached_property
    def n_steps(self) -> int:
        """Optimizer steps in all: the epochs', or `max_steps`, but one whole epoch at least, of many labels three.

        Where many of the rows are real, there are as many more as these need to be passed as if they were alone, unless
        `min_steps` or `max_steps` is none of a preset's. Where texts are long, both are as many steps as read no more
        bytes, though one epoch (or three) and `min_steps` at least.
        """
        if self.episodes:
            return len(self.episodes)
        steps, most = self.epochs * self.steps_per_epoch, self.train.max_steps
        if most is None:
            return steps
        least = self.steps_per_epoch * (1 if len(self.labels) <= _FEW_LABELS else _LEAST_EPOCHS)
        most = max(most, self._steps_of_many_real())
        n_bytes = sum(min(_MOST_BYTES_OF_A_TEXT, count_bytes(row.text)) for row in self.rows)
        most = min(most, most * _BYTES_OF_A_TEXT * len(self.rows) // max(1, n_bytes))
        return min(steps, max(most, least, self.train.min_steps))

    def _steps_of_many_real(self) -> int:
        if (self.train.min_steps, self.train.max_steps) not in _LIMITS_OF_PRESETS:
            return 0
        real = tuple(row for row in self.rows if row.source == "real")
        if len(real) == len(self.rows) or len(real) * _MANY_REAL < len(self.rows):
            return 0
        alone = dataclasses.replace(self, rows=real)
        passes = min(_PASSES_OF_MANY, alone.n_steps / alone.steps_per_epoch)
        return math.ceil(passes * self.steps_per_epoch)
