"""Small tasks, recording engines and listeners that several test modules need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from handful.encoding import ControlTokens
from handful.errors import PromptTooLongError
from handful.job import Job
from handful.llm.engine import Engine, ScriptedEngine
from handful.llm.protocol import LLM, FloatArray, Generation, OnProgress, Sampling
from handful.llm.scripted import ScriptedLLM
from handful.prompts import Prompt, Segment
from handful.recipe import Recipe
from handful.recipe_file import load_recipe
from handful.task import Task
from handful.training_plan import CheckpointStore, TrainingPlan

TINY_SINGLE = ("positive", "was", "to")
"""Words that are one token each, with the space before, for the tokenizer of `tiny.py`."""


def two_label_task(*, test: bool = True, shots: int = 4) -> Task:
    """Films, good or bad, with words of their own."""
    good = ["a lovely warm story", "the music was lovely", "warm and funny to the end", "funny clever lovely acting"]
    bad = ["a dull cold story", "the acting was dull", "cold and boring to the end", "boring stupid dull music"]
    examples = [(text, "good") for text in good[:shots]] + [(text, "bad") for text in bad[:shots]]
    held_out = [("lovely funny film", "good"), ("boring cold film", "bad"), ("dull film", "bad")]
    return Task.create(
        "films",
        {"good": {"verbalizer": "positive", "description": "the writer liked it"}, "bad": {"verbalizer": "negative"}},
        examples,
        test=held_out if test else None,
        text_name="film review",
    )


def single_token_task() -> Task:
    """Three labels of one token each for the tiny model."""
    labels = {f"l{index}": {"verbalizer": word} for index, word in enumerate(TINY_SINGLE)}
    examples = [(f"text {word} {number}", f"l{index}") for index, word in enumerate("abc") for number in range(2)]
    return Task.create("three", labels, examples)


@dataclass
class RecordingLLM:
    """A scripted LLM that keeps every prompt it is given."""

    inner: ScriptedLLM = field(default_factory=ScriptedLLM)
    generated: list[tuple[tuple[Prompt, ...], tuple[int, ...], Sampling]] = field(default_factory=list)
    scored: list[tuple[Prompt, ...]] = field(default_factory=list)
    measured: list[Prompt] = field(default_factory=list)
    """Whose length was asked for."""
    most_segments: int = 1000
    """Of a prompt: its context."""

    def _check_length(self, prompt: Prompt) -> None:
        if len(prompt.prefix) > self.most_segments:
            raise PromptTooLongError("the prompt is too long")

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.inner.count_tokens(texts)

    def prompt_tokens(self, prompt: Prompt, targets: Sequence[str] = ()) -> tuple[int, bool]:
        self._check_length(prompt)
        self.measured.append(prompt)
        return self.inner.prompt_tokens(prompt)

    def generate(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        sampling: Sampling,
        earlier: Sequence[Sequence[str]] | None = None,
    ) -> list[Generation]:
        self.generated.append((tuple(prompts), tuple(seeds), sampling))
        return self.inner.generate(prompts, seeds, sampling, earlier)

    def score(
        self, prompts: Sequence[Prompt], targets: Sequence[str], *, on_progress: OnProgress | None = None
    ) -> FloatArray:
        for prompt in prompts:
            self._check_length(prompt)
        self.scored.append(tuple(prompts))
        return self.inner.score(prompts, targets, on_progress=on_progress)


@dataclass(frozen=True)
class RecordingEngine:
    """The scripted engine with its base model recorded and its trainings and tuned models counted."""

    recorder: RecordingLLM = field(default_factory=RecordingLLM)
    trained: list[int] = field(default_factory=list)
    """Steps taken by each training."""
    plans: list[TrainingPlan] = field(default_factory=list)
    """What each was to learn."""
    inner: ScriptedEngine = field(default_factory=ScriptedEngine)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def calls(self) -> int:
        """Calls of the base model."""
        return len(self.recorder.generated) + len(self.recorder.scored)

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def arithmetic(self) -> dict[str, str | bool]:
        return self.inner.arithmetic()

    def llm(self, *, max_text_tokens: int) -> LLM:
        return self.recorder

    def train(self, plan: TrainingPlan, checkpoints: CheckpointStore, on_step: object) -> dict[str, bytes]:
        self.trained.append(0)
        self.plans.append(plan)

        def counted(step: int, n_steps: int, loss: float) -> bool:
            self.trained[-1] += 1
            assert callable(on_step)
            return bool(on_step(step, n_steps, loss))

        return self.inner.train(plan, checkpoints, counted)

    def tuned(self, directory: Path, *, max_text_tokens: int, layers: int | None = None, quick: bool = False) -> LLM:
        return self.inner.tuned(directory, max_text_tokens=max_text_tokens, layers=layers, quick=quick)

    def control_tokens(self, targets: tuple[str, ...]) -> ControlTokens | None:
        return None


@dataclass
class Listener:
    """A progress that keeps what it hears and asks to stop at the n-th question."""

    stop_at: int | None = None
    asked: int = 0
    stages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    advanced: int = 0
    skipped: int = 0

    def start(self, stage: str, total: int | None, unit: str) -> None:
        self.stages.append(stage)

    def advance(self, count: int) -> None:
        self.advanced += count

    def skip(self, count: int) -> None:
        self.skipped += count

    def finish(self, summary: str) -> None:
        assert summary

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def stop_requested(self) -> bool:
        self.asked += 1
        return self.stop_at is not None and self.asked >= self.stop_at


@dataclass
class MemoryStore:
    """Checkpoints in memory."""

    data: bytes | None = None
    saves: int = 0

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data
        self.saves += 1


def small_recipe(*overrides: str) -> Recipe:
    """The default recipe, cut down to seconds."""
    return load_recipe(
        "default",
        (
            "generate.synthetic_per_label=5",
            "generate.batch_size=8",
            "generate.max_candidates_per_label=64",
            "train.epochs=2",
            "train.min_steps=6",
            *overrides,
        ),
    )


def job_of(task: Task, engine: Engine, *overrides: str, seed: int = 0) -> Job:
    """A job with the small recipe."""
    return Job(task, small_recipe(*overrides), seed, engine)


def prompt_pieces(prompt: Prompt) -> list[Segment]:
    """A prompt's text in the order in which it is read."""
    query = [Segment(f" {prompt.query}")] if prompt.query else []
    return [*prompt.prefix, *query, *prompt.suffix]


def many_label_task() -> Task:
    """A task of 72 labels of three words, one example each, that part at 42 nodes at least."""
    firsts, seconds, thirds = (
        ("good", "bad", "some", "new", "kind", "dull"),
        ("old", "red", "up", "it", "me", "we"),
        "xy",
    )
    names = [f"{first} {second} {third}" for first in firsts for second in seconds for third in thirds]
    return Task.create("many", names, [(f"a {name}", name) for name in names])
