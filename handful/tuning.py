"""Training rows in, classifier directory out: plan, adapter, calibration, and the files beside the adapter."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.calibration import estimate_shift
from handful.classifier import Classifier
from handful.classifier_files import ClassifierSpec, classifier_files, classifier_spec
from handful.llm.engine import Engine
from handful.progress import Progress
from handful.recipe import Recipe
from handful.records import TrainingExample
from handful.run import Run, fingerprint
from handful.task import Task
from handful.training_plan import TrainingPlan


@dataclass(frozen=True)
class _RunCheckpoints:
    """The run directory as the store of one training's checkpoints."""

    run: Run
    key: str

    def load(self) -> bytes | None:
        return self.run.load_checkpoint(self.key)

    def save(self, data: bytes) -> None:
        self.run.save_checkpoint(self.key, data)


def tune_classifier(
    task: Task,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    rows: Sequence[TrainingExample],
    pool: Sequence[str],
    run: Run,
    progress: Progress,
) -> Path:
    """Train on the rows and write the classifier directory, unless it is there already.

    Args:
        task: The task.
        recipe: Prompt, training and calibration settings.
        engine: The base model.
        seed: Run seed.
        rows: What to train on.
        pool: Texts the label prior is estimated on; none of them a test text.
        run: Where checkpoints and classifier go.
        progress: Hears of it.
    """
    spec = classifier_spec(task, recipe, base_model=engine.name, base_model_fingerprint=engine.fingerprint())
    inputs = [training_inputs(spec, recipe, rows, seed), recipe.classify, list(pool)]

    def work() -> Mapping[str, bytes]:
        files = train_files(spec, recipe, engine, seed, rows, run, progress, stage="train")
        shift = _student_shift(spec, recipe, engine, files, pool)
        final = classifier_spec(
            task, recipe, base_model=engine.name, base_model_fingerprint=engine.fingerprint(), shift=shift
        )
        facts = {"Recipe": recipe.name, "Seed": seed, **_counts(rows)}
        single = engine.single_token_labels(final.targets)
        return {**files, **classifier_files(final, single_token_labels=single, facts=facts)}

    directory = run.adapter(inputs, work)
    run.clear_checkpoints(_checkpoint_key(spec, recipe, rows, seed, "train"))
    return directory


def train_files(
    spec: ClassifierSpec,
    recipe: Recipe,
    engine: Engine,
    seed: int,
    rows: Sequence[TrainingExample],
    run: Run,
    progress: Progress,
    *,
    stage: str,
) -> dict[str, bytes]:
    """Train an adapter for a classifier's prompt, resuming from the run's checkpoints."""
    plan = TrainingPlan(spec.prefix, spec.targets, spec.labels, tuple(rows), recipe.train, recipe.prompt, seed)
    store = _RunCheckpoints(run, _checkpoint_key(spec, recipe, rows, seed, stage))
    last = 0.0
    seen = 0
    progress.start(stage, plan.n_steps, "steps")

    def on_step(step: int, n_steps: int, loss: float) -> bool:
        nonlocal last, seen
        # The first step of a resumed training counts all steps before it.
        progress.advance(step - seen)
        seen, last = step, loss
        return progress.stop_requested()

    files = engine.train(plan, store, on_step)
    progress.finish(f"{plan.n_steps} steps on {len(rows)} examples, last loss {last:.3f}")
    return files


def training_inputs(spec: ClassifierSpec, recipe: Recipe, rows: Sequence[TrainingExample], seed: int) -> dict[str, Any]:
    """Return everything an adapter depends on."""
    return {"spec": spec, "train": recipe.train, "rows": [row.to_row() for row in rows], "seed": seed}


def _checkpoint_key(
    spec: ClassifierSpec, recipe: Recipe, rows: Sequence[TrainingExample], seed: int, stage: str
) -> str:
    return f"{stage.replace(' ', '_')}-{fingerprint(training_inputs(spec, recipe, rows, seed))}"


def _student_shift(
    spec: ClassifierSpec, recipe: Recipe, engine: Engine, files: Mapping[str, bytes], pool: Sequence[str]
) -> tuple[float, ...] | None:
    """Estimate the tuned model's label prior on the pool, as the recipe says."""
    if recipe.classify.calibration == "none" or not pool:
        return None
    log_probs = tuned_classifier(spec, engine, files).log_probs(pool)
    return tuple(map(float, estimate_shift(log_probs, recipe.classify.calibration)))


def tuned_classifier(spec: ClassifierSpec, engine: Engine, files: Mapping[str, bytes]) -> Classifier:
    """Return a classifier from adapter files that are not (yet) in a directory."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        return Classifier(engine.tuned(Path(folder), max_text_tokens=spec.max_text_tokens), spec)


def _counts(rows: Sequence[TrainingExample]) -> dict[str, int]:
    return {
        "Real examples": sum(row.source == "real" for row in rows),
        "Synthetic examples": sum(row.source == "synthetic" for row in rows),
    }
