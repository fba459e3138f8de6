"""A small deterministic engine for tests and dry runs: no weights, no torch, answers in microseconds.

It writes shuffled words of the examples in its prompt and scores labels by the words a text shares with the
demonstrations: enough for every stage to have something to decide. It says nothing about a real LLM's quality.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handful.llm.protocol import FloatArray, Generation, OnProgress, Sampling
from handful.prompts import Prompt
from handful.seeding import array_stream, derive_seed, stream

_FILLER = ("really", "today", "again", "please", "still", "maybe", "also", "quite", "there", "soon", "never", "once")


@dataclass(frozen=True)
class ScriptedLLM:
    """Deterministic stand-in for an LLM; `seed` makes different "models"."""

    seed: int = 0
    name: str = "scripted"

    @property
    def fingerprint(self) -> str:
        """Identity of the script."""
        return f"scripted-{self.seed}"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count words."""
        return [len(text.split()) for text in texts]

    def prompt_tokens(self, prompt: Prompt) -> tuple[int, bool]:
        """Count the words of the prompt; nothing is ever cut."""
        return len(_words(prompt)) + len((prompt.query or "").split()), False

    def generate(self, prompt: Prompt, seeds: Sequence[int], sampling: Sampling) -> list[Generation]:
        """Write a line of words drawn from the prompt for each seed."""
        words = [word for word in _words(prompt) if word.isalpha()] or list(_FILLER)
        return [self._line(words, seed, sampling) for seed in seeds]

    def score(
        self, prompts: Sequence[Prompt], targets: Sequence[str], *, on_progress: OnProgress | None = None
    ) -> FloatArray:
        """Score each target by the overlap of the query with the demonstrations that carry it, plus fixed noise."""
        rows = [self._score(prompt, targets) for prompt in prompts]
        if on_progress is not None:
            on_progress(len(rows))
        return np.array(rows, dtype=np.float64).reshape(len(prompts), len(targets))

    def _line(self, words: Sequence[str], seed: int, sampling: Sampling) -> Generation:
        draw = stream(self.seed, "line", seed)
        length = draw.randint(1, max(2, min(12, sampling.max_new_tokens)))
        text = " ".join(draw.choice([*words, *_FILLER]) for _ in range(length))
        return Generation(text, finished=draw.random() > 0.05, n_tokens=length)

    def _score(self, prompt: Prompt, targets: Sequence[str]) -> list[float]:
        query = set((prompt.query or "").lower().split())
        segments = [segment.text for segment in prompt.prefix]
        noise = array_stream(self.seed, "noise", derive_seed(0, json.dumps([prompt.query, *targets])))
        logits = noise.normal(size=len(targets)) * 0.5
        for index, target in enumerate(targets):
            # A demonstration is three segments: its text, the label marker, its label.
            shown = [segments[at - 2] for at in range(2, len(segments)) if segments[at] == target and at >= 2]
            logits[index] += sum(len(query & set(text.lower().split())) for text in shown) / (1 + len(shown))
        log_sum = math.log(np.exp(logits).sum())
        return [float(value) - log_sum for value in logits]


def _words(prompt: Prompt) -> list[str]:
    return " ".join(segment.text for segment in prompt.prefix).split()
