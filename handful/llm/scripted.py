"""A small deterministic engine for tests and dry runs: no weights, no torch, answers in microseconds.

It writes shuffled words of the examples in its prompt and scores labels by the words a text shares with the
demonstrations; "tuned", by the words it shares with the training rows. Enough for every stage to have something to
decide; it says nothing about a real LLM's quality.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handful.errors import AdapterError, Interrupted
from handful.llm.protocol import FloatArray, Generation, OnProgress, Sampling
from handful.prompts import Prompt
from handful.seeding import array_stream, derive_seed, stream
from handful.training_plan import CheckpointStore, TrainingPlan

NAME = "scripted"
_ADAPTER_FILE = "scripted_adapter.json"
_FILLER = ("really", "today", "again", "please", "still", "maybe", "also", "quite", "there", "soon", "never", "once")


@dataclass(frozen=True)
class ScriptedLLM:
    """Deterministic stand-in for an LLM; `learnt` counts per target the words seen in training."""

    learnt: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    name: str = NAME

    @property
    def fingerprint(self) -> str:
        """Identity of the script."""
        return "scripted-1"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count words."""
        return [len(text.split()) for text in texts]

    def prompt_tokens(self, prompt: Prompt, targets: Sequence[str] = ()) -> tuple[int, bool]:
        """Count the words of the prompt; nothing is ever cut."""
        return len(_words(prompt)) + len((prompt.query or "").split()), False

    def generate(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        sampling: Sampling,
        earlier: Sequence[Sequence[str]] | None = None,
    ) -> list[Generation]:
        """Write a line of words drawn from the prompt for each seed; with suppression, none of the earlier texts'."""
        lines = []
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            used = {word for text in earlier[index] for word in text.split()} if earlier else set()
            words = [word for word in _words(prompt) if not sampling.logit_suppression or word not in used]
            lines.append(self._line(words, seed, sampling))
        return lines

    def score(
        self, prompts: Sequence[Prompt], targets: Sequence[str], *, on_progress: OnProgress | None = None
    ) -> FloatArray:
        """Score each target by the overlap of the query with the demonstrations that carry it, plus fixed noise."""
        rows = [self._score(prompt, targets) for prompt in prompts]
        if on_progress is not None:
            on_progress(len(rows))
        return np.array(rows, dtype=np.float64).reshape(len(prompts), len(targets))

    def states(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Count the words of each query in 64 buckets."""
        rows = np.zeros((len(prompts), 64))
        for row, prompt in zip(rows, prompts, strict=True):
            for word in (prompt.query or "").lower().split():
                row[derive_seed(0, "state", word) % 64] += 1
        return rows

    def _line(self, words: Sequence[str], seed: int, sampling: Sampling) -> Generation:
        draw = stream(seed, "line")
        length = draw.randint(1, max(2, min(12, sampling.max_new_tokens)))
        vocabulary = [*(word for word in words if word.isalpha()), *_FILLER]
        text = " ".join(draw.choice(vocabulary) for _ in range(length))
        return Generation(text, finished=draw.random() > 0.05, n_tokens=length)

    def _score(self, prompt: Prompt, targets: Sequence[str]) -> list[float]:
        query = set((prompt.query or "").lower().split())
        segments = [segment.text for segment in prompt.prefix]
        noise = array_stream(0, "noise", derive_seed(0, json.dumps([prompt.query, *targets])))
        logits = noise.normal(size=len(targets)) * 0.5
        for index, target in enumerate(targets):
            # A demonstration is three segments: its text, the label marker, its label.
            shown = [segments[at - 2] for at in range(2, len(segments)) if segments[at] == target and at >= 2]
            logits[index] += sum(len(query & set(text.lower().split())) for text in shown) / (1 + len(shown))
            logits[index] += sum(math.log1p(self.learnt.get(target, {}).get(word, 0)) for word in sorted(query))
        log_sum = math.log(np.exp(logits).sum())
        return [float(value) - log_sum for value in logits]


def _words(prompt: Prompt) -> list[str]:
    return " ".join(segment.text for segment in prompt.prefix).split()


def train_script(
    plan: TrainingPlan, checkpoints: CheckpointStore, on_step: Callable[[int, int, float], bool]
) -> dict[str, bytes]:
    """Count words per label, one step of the plan at a time, with checkpoints like a real training.

    Raises:
        Interrupted: `on_step` returned True; the state is saved.
    """
    saved = checkpoints.load()
    state: dict[str, Any] = json.loads(saved) if saved else {"step": 0, "words": {}}
    counts: dict[str, Counter[str]] = defaultdict(Counter, {k: Counter(v) for k, v in state["words"].items()})
    size = plan.train.batch_size
    for step in range(state["step"], plan.n_steps):
        at = (step % plan.steps_per_epoch) * size
        for row in plan.episodes[step].rows if plan.episodes else plan.rows[at : at + size]:
            counts[plan.targets[plan.labels.index(row.label)]].update(row.text.lower().split())
        stop = on_step(step + 1, plan.n_steps, 1 / (step + 1))
        if stop or (step + 1) % plan.steps_per_epoch == 0:
            checkpoints.save(json.dumps({"step": step + 1, "words": counts}).encode())
        if stop:
            raise Interrupted(f"training stopped after step {step + 1} of {plan.n_steps}")
    words = {target: dict(sorted(counter.items())) for target, counter in sorted(counts.items())}
    return {_ADAPTER_FILE: json.dumps(words, ensure_ascii=True).encode()}


def tuned_script(directory: Path) -> ScriptedLLM:
    """Load what `train_script` learnt.

    Raises:
        AdapterError: The directory holds no scripted adapter.
    """
    try:
        return ScriptedLLM(learnt=json.loads((directory / _ADAPTER_FILE).read_text()))
    except (OSError, ValueError) as error:
        raise AdapterError("not an adapter of the scripted model", where=str(directory)) from error
