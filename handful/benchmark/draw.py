"""One task and seed: the candidates that all methods of this draw share, written and judged once."""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from handful import environment
from handful.benchmark.plan import Cell
from handful.evaluation.methods import FULL, ORACLE, Method
from handful.filter import decide
from handful.job import Job
from handful.pipeline import Written, write_and_check
from handful.progress import Progress
from handful.records import TrainingExample
from handful.run import Run, fingerprint
from handful.training_set import calibration_pool, real_rows, training_rows

_MOST_CHARS = 100
"""Of a name in a path: with what stands around it, file systems take 255 bytes."""


@dataclass(frozen=True)
class Draw:
    """The run of a seed's handful."""

    job: Job
    run: Run
    """A run directory of its own: `handful` commands can open it."""
    progress: Progress

    @cached_property
    def written(self) -> Written:
        """The candidates and verdicts; the LLM writes at the first call and whenever the directory lacks them."""
        return self._watched[0]

    @property
    def generate_seconds(self) -> float | None:
        """What writing and judging took; None where a part of it was done by an earlier process."""
        return self._watched[1]

    @property
    def generate_peak_memory_mb(self) -> float | None:
        """The process's peak memory meanwhile, likewise."""
        return self._watched[2]

    @cached_property
    def _watched(self) -> tuple[Written, float | None, float | None]:
        fresh = not self.run.has_step("candidates-0-0")
        environment.reset_peak_memory()
        started = time.perf_counter()
        written = write_and_check(self.job, self.run, self.progress)
        seconds = time.perf_counter() - started if fresh else None
        peak_mb = environment.peak_memory_mb() if fresh else None
        rows = training_rows(self.job.task, self.job.recipe, written.candidates, written.verdicts)
        self.run.publish("training", [row.to_row() for row in rows])
        inputs = [self.job.identity()]
        cost = self.run.step("generation-seconds", inputs, lambda: [{"seconds": seconds}])
        memory = self.run.step("generation-memory", inputs, lambda: [{"peak_memory_mb": peak_mb}])
        return written, cost[0]["seconds"], memory[0]["peak_memory_mb"]

    def pool(self) -> list[str]:
        """Return the texts label priors are estimated on: none of them a test text."""
        return calibration_pool(self.written.candidates, self.written.verdicts)

    def rows(self, method: Method, job: Job) -> list[TrainingExample]:
        """Return what a method's adapter is tuned on; the ablations choose among the same candidates."""
        if method.trained_on == "real":
            # More than the handful has the labels as often as they occur; the handful is balanced, as ours is.
            more = method.shots is not None
            return real_rows(job.task, job.recipe) if more else training_rows(job.task, job.recipe, [], [])
        written, verdicts, recipe = self.written, self.written.verdicts, job.recipe
        if method.filter_method is not None:
            ablation = dataclasses.replace(recipe.filter, method=method.filter_method)
            recipe = dataclasses.replace(recipe, filter=ablation)
            verdicts = decide(job.task, written.candidates, written.rejected, written.scores, ablation, job.seed)
        return training_rows(job.task, recipe, written.candidates, verdicts, method.first_synthetic)


def draw_directory(cell: Cell) -> Path:
    """Return where the run of a cell's draw is, below the benchmark's directory.

    Cells whose recipes write and judge alike share their candidates.
    """
    changes = list(cell.handful_changes)
    if cell.method.shots == FULL:
        # Its classifier stays on disk: the oracle's, and any other's in a directory of its own.
        changes = ["full", *(() if cell.method.key == ORACLE.key else (cell.method.key,))]
    which = f"-{fingerprint(changes)[:8]}" if changes else ""
    return Path("runs") / f"{plain_name(cell.task.name)}-seed{cell.seed}{which}"


def oracle_directory(cell: Cell) -> Path:
    """Return where the oracle of all draws of a cell's task is, below the benchmark's directory: seed 0 has it."""
    return draw_directory(dataclasses.replace(cell, method=ORACLE, seed=0)) / "adapter"


def plain_name(name: str) -> str:
    """Return a name that any file system takes, another one for every name.

    >>> plain_name("trec"), plain_name("a b") == plain_name("a-b"), len(plain_name("a" * 300))
    ('trec', False, 109)
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip(".-")[:_MOST_CHARS]
    return plain if plain == name else f"{plain or 'x'}-{fingerprint(name)[:8]}"
