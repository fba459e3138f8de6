"""Test texts in, label log-probabilities and what an answer costs out: the one way to measure a method."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from handful.calibration import FloatArray
from handful.classifier import Classifier
from handful.demonstrations import in_random_order
from handful.evaluation.methods import Method
from handful.job import Job
from handful.llm.protocol import OnProgress
from handful.progress import Progress, stop_if_asked
from handful.tuning import job_spec


class Answers(Protocol):
    """What is measured: a classifier or a peer."""

    def log_probs(self, texts: Sequence[str], *, on_progress: OnProgress | None = None) -> FloatArray:
        """Return label log-probabilities in nats, shape (n_texts, n_labels)."""
        ...

    def prompt_tokens(self, texts: Sequence[str]) -> float:
        """Return the mean prompt length in tokens."""
        ...


@dataclass(frozen=True)
class Answered:
    """Answers, and what they cost."""

    log_probs: FloatArray
    """Of the test texts, nats, shape (n_texts, n_labels)."""
    pool_log_probs: FloatArray
    """Of the pool, shape (n_pool, n_labels); of no pool (0, 0)."""
    ms_per_text: float


def untuned(method: Method, job: Job) -> Classifier:
    """Return the LLM as it is, with the job's examples in its prompt where the method shows them."""
    demonstrations = in_random_order(job.task.examples, job.seed, "in_context") if method.demonstrations else ()
    return Classifier(job.llm(), job_spec(job, demonstrations))


def answer(answers: Answers, texts: Sequence[str], pool: Sequence[str], progress: Progress, stage: str) -> Answered:
    """Let a method answer test texts, which is timed, and the pool that its label prior is estimated on.

    Raises:
        Interrupted: The progress asked to stop.
        ModelError: A prompt does not fit the model.
    """

    def on_progress(count: int) -> None:
        progress.advance(count)
        stop_if_asked(progress)

    progress.start(stage, len(texts) + len(pool), "texts")
    answers.log_probs(texts[:2])  # the prefix is computed once: the time below is per text
    started = time.perf_counter()
    log_probs = answers.log_probs(texts, on_progress=on_progress)
    ms_per_text = 1000 * (time.perf_counter() - started) / len(texts)
    of_pool = answers.log_probs(pool, on_progress=on_progress) if pool else np.empty((0, 0))
    progress.finish(f"{ms_per_text:.1f} ms a text")
    return Answered(log_probs, of_pool, ms_per_text)
