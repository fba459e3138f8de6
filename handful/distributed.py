"""Training in several processes: one owns the run directory, the others only compute.

Started by `accelerate launch --multi_gpu` or `torchrun` (which takes `--run` for an option of its own: `--run-dir`).
Every process starts from the same `training.jsonl` and the same checkpoint, so that all take the same steps. Only the
process of rank 0 holds the lock and writes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handful.errors import RunError
from handful.job import Job
from handful.records import Candidate, TrainingExample, Verdict
from handful.run import Run, read_jsonl, read_manifest
from handful.storage.manifest import check_identity
from handful.training_set import calibration_pool
from handful.tuning import adapter_inputs, checkpoint_key, classifier_plan

_log = logging.getLogger(__name__)


def n_processes() -> int:
    """Return how many processes this one was started with."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Return the number of this process among them; 0 is the one that writes."""
    return _number("RANK", 0)


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdigit() else default


def read_training(directory: Path, job: Job) -> tuple[list[TrainingExample], list[str]]:
    """Return the rows to train on and the texts of the label prior, as the stages before left them.

    Raises:
        RunError: The stages before are not done in this run directory, or it is of another run.
    """
    if not (directory / "training.jsonl").is_file():
        raise RunError(
            "there is no training.jsonl: writing and checking are not done",
            where=str(directory),
            mend="Run `handful filter` with the same options in one process first.",
        )
    check_identity(directory, read_manifest(directory), job.identity())
    rows = [TrainingExample.from_row(row) for row in read_jsonl(directory / "training.jsonl")]
    candidates = [Candidate.from_row(row) for row in read_jsonl(directory / "candidates.jsonl")]
    verdicts = [Verdict.from_row(row) for row in read_jsonl(directory / "verdicts.jsonl")]
    return rows, calibration_pool(candidates, verdicts)


def follow_training(job: Job, directory: Path, rows: Sequence[TrainingExample], pool: Sequence[str]) -> None:
    """Take part in the training that rank 0 leads, without writing anything.

    Raises:
        HandfulError: What rank 0 raises as well.
    """
    run = Run(directory, read_manifest(directory))
    if run.has_adapter(adapter_inputs(job, rows, pool)):
        return
    _log.info("process %d of %d takes part", rank(), n_processes())
    checkpoint = run.load_checkpoint(checkpoint_key(job, rows, "train"), tidy=False)
    job.engine.train(classifier_plan(job, rows), _Checkpoint(checkpoint), lambda *step: False)


@dataclass(frozen=True)
class _Checkpoint:
    """The state to start from, in memory."""

    data: bytes | None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        """Leave it to rank 0."""
