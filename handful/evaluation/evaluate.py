"""Every method on the test set, through one scoring path; predictions are saved, tables are made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from handful.calibration import estimate_shift, label_probabilities
from handful.classifier import Classifier
from handful.errors import PromptTooLongError
from handful.evaluation.answering import answer, untuned
from handful.evaluation.methods import RUN_METHODS, Method
from handful.evaluation.metrics import score_predictions
from handful.job import Job
from handful.progress import Progress, stop_if_asked
from handful.run import Run
from handful.task import Task
from handful.training_set import training_rows
from handful.tuning import checkpoint_key, train_files, tuned_classifier

_BASELINE = "train baseline"


def evaluate_methods(job: Job, pool: Sequence[str], run: Run, progress: Progress) -> dict[str, Any]:
    """Score every method on the task's test texts; publish predictions/*.jsonl and results.json.

    The prior that the calibrated columns take out is estimated on `pool`, the judged candidates: no test text. A method
    whose examples do not fit the model's context is left out, with a warning.

    Returns:
        `{"task", "n_test", "test", "methods": [row, ...]}`, test being the fingerprint of the test texts; a row has
        method, title, accuracy with its 95 % interval, macro_f1, calibrated_accuracy and calibrated_macro_f1 in [0, 1]
        (None without a pool), the label prior that its answers are without (`shift`, nats, or None), ms_per_text,
        prompt_tokens.
    """
    task = job.task
    gold = [example.label for example in task.test or ()]
    rows = []
    for method in RUN_METHODS:
        if method.trained_on == "real" and not job.recipe.generate.synthetic_per_label:
            continue  # it is what was tuned
        stop_if_asked(progress)
        try:
            saved = _scored(method, job, pool, run, progress)
        except PromptTooLongError as error:
            if not method.demonstrations:
                raise
            progress.warn(does_not_fit(method, error))
            continue
        if method.trained_on == "real":
            run.clear_checkpoints(checkpoint_key(job, training_rows(task, job.recipe, [], []), _BASELINE))
        rows.append(result_row(method, job, saved["test_log_probs"], saved))
        predicted = _labels(task, saved["test_log_probs"], saved["shift"])
        lines = enumerate(zip(gold, predicted, saved["test_log_probs"], strict=True))
        run.publish(
            f"predictions/{method.name}",
            [{"text_id": str(i), "label": g, "predicted": p, "log_probs": row} for i, (g, p, row) in lines],
        )
    results = {"task": task.name, "n_test": len(gold), "test": task.test_fingerprint(), "methods": rows}
    run.publish_json("results", results)
    return results


def does_not_fit(method: Method, error: PromptTooLongError) -> str:
    """Say that a model cannot hold all examples in its prompt: no reason to measure nothing else."""
    return f"{method.name} is left out: {error.message}"


def result_row(
    method: Method, job: Job, log_probs: ArrayLike, measured: Mapping[str, Any], encoder: str | None = None
) -> dict[str, Any]:
    """Return a method's row of results.json; see `evaluate_methods`.

    Args:
        method: What was measured.
        job: With the test texts.
        log_probs: Of the test texts, nats, shape (n_texts, n_labels).
        measured: `shift`, `pool_log_probs`, `ms_per_text` and `prompt_tokens`.
        encoder: See `Method.titled`.
    """
    task = job.task
    gold = [example.label for example in task.test or ()]
    pool = measured["pool_log_probs"]
    as_answered = score_predictions(gold, _labels(task, log_probs, measured["shift"]), task.label_names)
    shift = estimate_shift(pool, "match") if pool else None
    calibrated = None if shift is None else score_predictions(gold, _labels(task, log_probs, shift), task.label_names)
    shots = max(len(task.examples_of(label)) for label in task.label_names)
    return {
        "method": method.name,
        "title": method.titled(shots, [job.recipe.generate.synthetic_per_label], encoder),
        **dataclasses.asdict(as_answered),
        "calibrated_accuracy": None if calibrated is None else calibrated.accuracy,
        "calibrated_macro_f1": None if calibrated is None else calibrated.macro_f1,
        **{key: measured[key] for key in ("shift", "ms_per_text", "prompt_tokens")},
    }


def _labels(task: Task, log_probs: ArrayLike, shift: ArrayLike | None) -> list[str]:
    return [task.label_names[index] for index in label_probabilities(log_probs, shift).argmax(axis=1)]


def _scored(method: Method, job: Job, pool: Sequence[str], run: Run, progress: Progress) -> dict[str, Any]:
    """Score test and pool with one method, once per run directory."""
    texts = [example.text for example in job.task.test or ()]

    def work() -> list[dict[str, Any]]:
        classifier = _open(method, job, run, progress)
        found = answer(classifier, texts, pool, progress, f"evaluate {method.name}")
        row = {
            "test_log_probs": found.log_probs.tolist(),
            "pool_log_probs": found.pool_log_probs.tolist(),
            "shift": classifier.spec.shift,
            "ms_per_text": found.ms_per_text,
            "prompt_tokens": classifier.prompt_tokens(texts),
        }
        return [row]

    inputs = [method, job.identity(), job.task.test_fingerprint(), list(pool)]
    return run.step(f"predictions-{method.name}", inputs, work)[0]


def _open(method: Method, job: Job, run: Run, progress: Progress) -> Classifier:
    if method.trained_on == "real_and_synthetic":
        return Classifier.tuned_by(job.engine, run.adapter_dir)
    if method.trained_on == "real":
        rows = training_rows(job.task, job.recipe, [], [])  # balanced, as ours are
        return tuned_classifier(job, train_files(job, rows, run, progress, stage=_BASELINE))
    return untuned(method, job)
