"""Every method on the test set, through one scoring path; predictions are saved, tables are made from them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from handful.calibration import estimate_shift, label_probabilities
from handful.classifier import Classifier
from handful.classifier_files import classifier_spec
from handful.demonstrations import in_random_order
from handful.evaluation.methods import METHODS, Method
from handful.evaluation.metrics import score_predictions
from handful.llm.engine import Engine
from handful.progress import Progress
from handful.recipe import Recipe
from handful.run import Run
from handful.task import Task
from handful.training_set import real_rows
from handful.tuning import train_files, tuned_classifier


def evaluate_methods(
    task: Task,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    pool: Sequence[str],
    run: Run,
    progress: Progress,
) -> dict[str, Any]:
    """Score every method on the task's test texts and publish results.json.

    The prior that the calibrated columns take out is estimated on `pool`, the judged candidates: no test text.

    Returns:
        `{"methods": [row, ...]}`; a row has method, title, accuracy with its interval, macro_f1 and
        calibrated_accuracy in [0, 1], ms_per_text, prompt_tokens and n_test.
    """
    test = task.test or ()
    gold = [example.label for example in test]
    shots = max(len(task.examples_of(label)) for label in task.label_names)
    rows = []
    for method in METHODS:
        saved = _predict(method, task, recipe, engine, seed, pool, run, progress)
        log_probs = np.array(saved["test_log_probs"])
        shift = estimate_shift(saved["pool_log_probs"], "match") if pool else None
        stored = saved["stored_shift"]
        predicted, calibrated = (_labels(task, log_probs, by) for by in (stored, shift))
        title = method.title.format(k=shots, n=recipe.generate.synthetic_per_label)
        rows.append(
            {
                "method": method.name,
                "title": title,
                **dataclasses.asdict(score_predictions(gold, predicted, task.label_names)),
                "calibrated_accuracy": score_predictions(gold, calibrated, task.label_names).accuracy,
                "calibrated_macro_f1": score_predictions(gold, calibrated, task.label_names).macro_f1,
                "ms_per_text": saved["ms_per_text"],
                "prompt_tokens": saved["prompt_tokens"],
            }
        )
        run.publish(
            f"predictions/{method.name}",
            [
                {"text_id": str(i), "label": g, "predicted": p, "log_probs": list(map(float, lp))}
                for i, (g, p, lp) in enumerate(zip(gold, predicted, log_probs, strict=True))
            ],
        )
    results = {"task": task.name, "n_test": len(test), "methods": rows}
    run.publish_json("results", results)
    return results


def _labels(task: Task, log_probs: Any, shift: Any) -> list[str]:
    return [task.label_names[index] for index in label_probabilities(log_probs, shift).argmax(axis=1)]


def _predict(
    method: Method,
    task: Task,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    pool: Sequence[str],
    run: Run,
    progress: Progress,
) -> dict[str, Any]:
    """Score test and pool with one method, once per run directory."""
    texts = [example.text for example in task.test or ()]

    def work() -> list[dict[str, Any]]:
        classifier = _open(method, task, recipe, engine, seed, run, progress)
        progress.start(f"evaluate {method.name}", len(texts) + len(pool), "texts")
        classifier.log_probs(texts[:2])  # the prompt's prefix is computed once, not per text
        started = time.perf_counter()
        test_log_probs = classifier.log_probs(texts, on_progress=progress.advance)
        seconds = time.perf_counter() - started
        row = {
            "test_log_probs": test_log_probs.tolist(),
            "pool_log_probs": classifier.log_probs(pool, on_progress=progress.advance).tolist(),
            "stored_shift": None if classifier.spec.shift is None else list(classifier.spec.shift),
            "ms_per_text": 1000 * seconds / len(texts),
            "prompt_tokens": classifier.prompt_tokens(texts),
        }
        progress.finish(f"{method.name}: {row['ms_per_text']:.1f} ms a text")
        return [row]

    inputs = {
        "method": method,
        "task": task.fingerprint(),
        "recipe": recipe,
        "seed": seed,
        "model": engine.fingerprint(),
        "pool": list(pool),
    }
    return run.step(f"predictions-{method.name}", inputs, work)[0]


def _open(
    method: Method, task: Task, recipe: Recipe, engine: Engine, seed: int, run: Run, progress: Progress
) -> Classifier:
    if method.trained_on == "real_and_synthetic":
        return _tuned(run, engine)
    demonstrations = tuple(in_random_order(task.examples, seed, "in_context")) if method.demonstrations else ()
    spec = classifier_spec(
        task,
        recipe,
        base_model=engine.name,
        base_model_fingerprint=engine.fingerprint(),
        demonstrations=demonstrations,
    )
    if method.trained_on == "nothing":
        return Classifier(engine.llm(max_text_tokens=recipe.prompt.max_text_tokens), spec)
    files = train_files(spec, recipe, engine, seed, real_rows(task, recipe), run, progress, stage="train baseline")
    return tuned_classifier(spec, engine, files)


def _tuned(run: Run, engine: Engine) -> Classifier:
    from handful.classifier_files import read_classifier

    spec = read_classifier(run.adapter_dir)
    return Classifier(engine.tuned(run.adapter_dir, max_text_tokens=spec.max_text_tokens), spec)
