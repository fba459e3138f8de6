"""One cell: build the method's classifier, let it answer the test texts, and keep the answers with what they cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from handful import environment
from handful.benchmark.draw import Draw, plain_name
from handful.benchmark.plan import Cell
from handful.classifier import Classifier
from handful.evaluation.answering import Answers, answer, untuned
from handful.peers.encoders import encoder_identity
from handful.peers.fitting import fit_peer
from handful.tuning import checkpoint_key, shift_of, train_files, tune_classifier, tuned_classifier

_ONE_BY_ONE = 50
"""Texts that are answered one at a time, to know how long one waits for an answer."""
_STAGE = "train"


@dataclass(frozen=True)
class _Built:
    answers: Answers
    train_seconds: float | None
    """None where a part was done by an earlier process."""
    n_training: int


def measured(cell: Cell, draw: Draw) -> dict[str, Any]:
    """Return a cell's row, measuring it unless the draw's run directory has it.

    Returns:
        What was measured (`task`, `method`, `shots_per_label`, ...), `log_probs` of the test texts and of the pool,
        seconds, milliseconds, tokens, memory, and what is needed to repeat it.
    """
    encoder = encoder_identity(cell.plan.encoder) if cell.method.peer is not None else cell.plan.encoder
    jobs = [cell.job().identity(), draw.job.identity()]
    inputs = [cell.method.key, *jobs, cell.task.test_fingerprint(), encoder, cell.plan.full_epochs]
    return draw.run.step(f"cell-{plain_name(cell.method.key)}", inputs, lambda: [_measure(cell, draw)])[0]


def _measure(cell: Cell, draw: Draw) -> dict[str, Any]:
    texts = [example.text for example in cell.task.test or ()]
    pool = draw.pool() if cell.method.uses_llm_scores and cell.method.shots != "full" else []
    environment.reset_peak_memory()
    built = _build(cell, draw)
    found = answer(built.answers, texts, pool, draw.progress, f"answer: {cell.name}")
    waits = _waits(built.answers, texts[:_ONE_BY_ONE])
    synthetic = cell.method.trained_on == "real_and_synthetic"
    return {
        "task": cell.task.name,
        "method": cell.method.name,
        "spec": cell.method.key,
        "recipe": "+".join([cell.recipe.name, *cell.method.settings]),
        "shots_per_label": cell.method.shots or cell.plan.shots_per_label or "all",
        "synthetic_per_label": cell.synthetic_per_label if synthetic else 0,
        "n_training": built.n_training,
        "seed": cell.seed,
        "n_test": len(texts),
        "log_probs": found.log_probs.tolist(),
        "pool_log_probs": found.pool_log_probs.tolist(),
        "shift": shift_of(cell.recipe, found.pool_log_probs) if synthetic else None,
        "ms_per_text": found.ms_per_text,
        "latency_p50_ms": float(np.quantile(waits, 0.5)),
        "latency_p95_ms": float(np.quantile(waits, 0.95)),
        "prompt_tokens": built.answers.prompt_tokens(texts),
        "train_seconds": built.train_seconds,
        "generate_seconds": draw.generate_seconds if synthetic else 0.0,
        "peak_memory_mb": _peak_memory_mb(draw if synthetic else None),
        **_provenance(cell),
    }


def _provenance(cell: Cell) -> dict[str, Any]:
    """Return what else is needed to repeat a cell: the texts, code, model, settings and arithmetic."""
    return {
        "task_fingerprint": cell.job().task.fingerprint(),
        "test_fingerprint": cell.task.test_fingerprint(),
        "commit": environment.commit(),
        "versions": environment.versions((*environment.PACKAGES, *environment.PEER_PACKAGES)),
        **{key: cell.plan.identity()[key] for key in ("model", "model_fingerprint", "encoder", "full_epochs")},
        "recipe_settings": cell.recipe.to_dict(),
        "handful": cell.plan.shots_per_label,
        "arithmetic": cell.plan.engine.arithmetic(),
        **environment.processor(),
    }


def _build(cell: Cell, draw: Draw) -> _Built:
    method, job = cell.method, cell.job()
    if method.peer is not None:
        draw.progress.start(f"fit: {cell.name}", None, "examples")
        started = time.perf_counter()
        peer = fit_peer(
            method.peer,
            job.task,
            seed=cell.seed,
            llm=job.llm,
            prompt=job.recipe.prompt,
            encoder=cell.plan.encoder,
        )
        draw.progress.finish(f"{len(job.task.examples)} examples")
        return _Built(peer, time.perf_counter() - started, len(job.task.examples))
    if method.trained_on == "nothing":
        return _Built(untuned(method, job), 0.0, len(job.task.examples) if method.demonstrations else 0)
    rows = draw.rows(method, job)
    key = checkpoint_key(job, rows, _STAGE)
    fresh = draw.run.load_checkpoint(key) is None
    started = time.perf_counter()
    if method.shots == "full":  # kept: it is the oracle of the candidates' labels
        fresh = fresh and not draw.run.adapter_dir.exists()
        directory = tune_classifier(job, rows, (), draw.run, draw.progress)
        seconds = time.perf_counter() - started
        classifier = Classifier.tuned_by(job.engine, directory)
        return _Built(classifier, seconds if fresh else None, len(rows))
    files = train_files(job, rows, draw.run, draw.progress, stage=_STAGE)
    seconds = time.perf_counter() - started
    classifier = tuned_classifier(job, files)
    draw.run.clear_checkpoints(key)
    return _Built(classifier, seconds if fresh else None, len(rows))


def _peak_memory_mb(draw: Draw | None) -> float | None:
    """Return the peak since the last reset, or that of writing and judging; None where either is not known."""
    peaks = [environment.peak_memory_mb(), *([draw.generate_peak_memory_mb] if draw is not None else [])]
    known = [peak for peak in peaks if peak is not None]
    return max(known) if len(known) == len(peaks) else None


def _waits(answers: Answers, texts: Sequence[str]) -> list[float]:
    """Return the milliseconds each text waits for its answer, one at a time."""
    waits = []
    for text in texts:
        started = time.perf_counter()
        answers.log_probs([text])
        waits.append(1000 * (time.perf_counter() - started))
    return waits
