"""Training rows in, classifier directory out: adapter, calibration, and the files beside the adapter."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.calibration import FloatArray, estimate_shift
from handful.classifier import Classifier
from handful.classifier_files import ClassifierSpec, classifier_files, classifier_spec
from handful.job import Job
from handful.llm.protocol import LLM
from handful.progress import Progress
from handful.recipe import Recipe
from handful.records import Example, TrainingExample
from handful.run import Run, fingerprint
from handful.training_plan import TrainingPlan


def job_spec(job: Job, demonstrations: Sequence[Example] = ()) -> ClassifierSpec:
    """Return the spec of a job's classifier, not calibrated; with demonstrations it is the in-context baseline."""
    return classifier_spec(
        job.task,
        job.recipe,
        base_model=job.engine.name,
        base_model_fingerprint=job.engine.fingerprint(),
        demonstrations=demonstrations,
    )


def tune_classifier(
    job: Job, rows: Sequence[TrainingExample], pool: Sequence[str], run: Run, progress: Progress
) -> Path:
    """Train on the rows and write the classifier directory, unless it is there already.

    Args:
        job: Task, recipe, seed and base model.
        rows: What to train on.
        pool: Texts the label prior is estimated on; none of them a test text.
        run: Where checkpoints and classifier go.
        progress: Hears of it.
    """
    spec = job_spec(job)

    def work() -> Mapping[str, bytes]:
        files = train_files(job, rows, run, progress, stage="train")
        final = dataclasses.replace(spec, shift=_student_shift(job, files, pool))
        facts = {"Recipe": job.recipe.name, "Seed": job.seed, **_counts(rows)}
        control = job.engine.control_tokens(final.targets)
        return {**files, **classifier_files(final, control=control, facts=facts)}

    directory = run.adapter(adapter_inputs(job, rows, pool), work)
    run.clear_checkpoints(checkpoint_key(job, rows, "train"))
    return directory


def classifier_plan(job: Job, rows: Sequence[TrainingExample]) -> TrainingPlan:
    """Return what is to be learnt from the rows: with the prompt that will be used."""
    spec = job_spec(job)
    return TrainingPlan(
        spec.prefix, spec.targets, spec.labels, tuple(rows), job.recipe.train, job.recipe.prompt, job.seed
    )


def train_files(
    job: Job, rows: Sequence[TrainingExample], run: Run, progress: Progress, *, stage: str
) -> dict[str, bytes]:
    """Train an adapter for the job's prompt, resuming from the run's checkpoints, and return its files."""
    return follow_plan(
        job, classifier_plan(job, rows), run, progress, stage=stage, key=checkpoint_key(job, rows, stage)
    )


def follow_plan(
    job: Job, plan: TrainingPlan, run: Run, progress: Progress, *, stage: str, key: str
) -> dict[str, bytes]:
    """Train as a plan says, resuming from the checkpoints that the run has under `key`; return the adapter's files."""
    last_loss, last_step = 0.0, 0
    progress.start(stage, plan.n_steps, "steps")

    def on_step(step: int, n_steps: int, loss: float) -> bool:
        nonlocal last_loss, last_step
        if last_step == 0 and step > 1:
            progress.skip(step - 1)  # a resumed training
        progress.advance(1)
        last_loss, last_step = loss, step
        return progress.stop_requested()

    files = job.engine.train(plan, _RunCheckpoints(run, key), on_step)
    loss = f", last loss {last_loss:.3f}" if last_step else ""
    progress.finish(f"{plan.n_steps} steps on {len(plan.rows)} examples{loss}")
    return files


def tuned_classifier(job: Job, files: Mapping[str, bytes]) -> Classifier:
    """Return a classifier of the job's prompt from adapter files that are not in a directory."""
    spec = job_spec(job)
    return Classifier(tuned_llm(job, files, layers=spec.layers), spec)


def tuned_llm(job: Job, files: Mapping[str, bytes], *, layers: int | None = None, quick: bool = False) -> LLM:
    """Return the base model with an adapter from files that are not in a directory; see `Engine.tuned`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        most = job.recipe.prompt.max_text_tokens
        return job.engine.tuned(Path(folder), max_text_tokens=most, layers=layers, quick=quick)


@dataclass(frozen=True)
class _RunCheckpoints:
    """The run directory as the store of one training's checkpoints."""

    run: Run
    key: str

    def load(self) -> bytes | None:
        return self.run.load_checkpoint(self.key)

    def save(self, data: bytes) -> None:
        self.run.save_checkpoint(self.key, data)


def _training_inputs(job: Job, rows: Sequence[TrainingExample]) -> dict[str, Any]:
    return {"spec": job_spec(job), "train": job.recipe.train, "rows": [row.to_row() for row in rows], "seed": job.seed}


def adapter_inputs(job: Job, rows: Sequence[TrainingExample], pool: Sequence[str]) -> list[Any]:
    """Return what the classifier directory is made from, to know it again."""
    return [_training_inputs(job, rows), job.recipe.classify, list(pool)]


def checkpoint_key(job: Job, rows: Sequence[TrainingExample], stage: str) -> str:
    """Return what the checkpoints of a training are kept under."""
    # The learning rate of a step goes by how many there are, which versions count differently.
    inputs = [_training_inputs(job, rows), classifier_plan(job, rows).n_steps]
    return f"{stage.replace(' ', '_')}-{fingerprint(inputs)}"


def _student_shift(job: Job, files: Mapping[str, bytes], pool: Sequence[str]) -> tuple[float, ...] | None:
    """Estimate the tuned model's label prior on the pool, as the recipe says."""
    if job.recipe.classify.calibration == "none" or not pool:
        return None
    return shift_of(job.recipe, tuned_classifier(job, files).log_probs(pool))


def shift_of(recipe: Recipe, pool_log_probs: FloatArray) -> tuple[float, ...] | None:
    """Return the prior that a recipe takes out of its tuned model, from the model's scores of the pool."""
    if recipe.classify.calibration == "none" or not len(pool_log_probs):
        return None
    return tuple(map(float, estimate_shift(pool_log_probs, recipe.classify.calibration)))


def _counts(rows: Sequence[TrainingExample]) -> dict[str, int]:
    return {
        "Real examples": sum(row.source == "real" for row in rows),
        "Synthetic examples": sum(row.source == "synthetic" for row in rows),
    }
