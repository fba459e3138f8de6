"""What can be known without a test set: each real example is answered by a classifier that was made without it.

With four examples per label that is a handful of answers, so the interval is wide; it is said with the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from statistics import NormalDist

from handful.benchmark.benchmark import TaskResults, run_benchmark
from handful.benchmark.draw import draw_directory
from handful.benchmark.plan import BenchmarkPlan
from handful.benchmark.scoring import Calibration, gold_indices
from handful.errors import TaskError
from handful.evaluation.filter_quality import Overlap, Share, acceptance, overlaps
from handful.evaluation.methods import METHODS, OURS
from handful.evaluation.metrics import GUESSING, chance_of, wilson_interval
from handful.job import Job
from handful.progress import Progress
from handful.records import Candidate, Example, Verdict
from handful.run import Run, read_jsonl
from handful.seeding import stream
from handful.task import Task

_METHODS = ("in_context", "lora_real", OURS)
_LEAST_APART = 6
"""Fewer answers that one method alone has right are not rare enough by McNemar's exact test: 2 * 0.5^5 is 0.06."""
_LIKE_JUDGES = ("in_context", "lora_real")
"""What shows whether the model can label this task's texts from the examples alone, as its judges have to."""


@dataclass(frozen=True)
class MethodEstimate:
    """One method's answers to the examples it was made without."""

    method: str
    title: str
    right: Share
    """With its 95 % Wilson interval."""
    right_calibrated: Share
    """With the label prior estimated on the generated pool taken out; of nothing where nothing is written."""


@dataclass(frozen=True)
class Estimate:
    """What is known of a task without test texts."""

    n_folds: int
    n_examples: int
    chance: float
    """Accuracy of answers that need no text; see `chance_of`."""
    methods: tuple[MethodEstimate, ...]
    acceptance: Mapping[str, Share]
    """By label: how many of the candidates asked for it are judged to have it, over all folds."""
    overlaps: tuple[Overlap, ...]
    """Pairs of labels the model takes for each other."""

    def advice(self) -> list[str]:
        """Return what the numbers mean, in sentences."""
        said = [
            f"These {self.n_examples} answers tell two methods apart only if at least {_LEAST_APART} of them are right "
            "by one alone, and hardly any by the other alone. They are of classifiers made from a part of "
            "the examples: one made from all is more likely better than worse."
        ]
        judges = [entry for entry in self.methods if entry.method in _LIKE_JUDGES]
        looks = [share for entry in judges for share in (entry.right, entry.right_calibrated) if share.total]
        best = max(looks, key=attrgetter("value"))
        # The best of several guesses is better than one guess (Bonferroni).
        low, _ = wilson_interval(best.hits, best.total, NormalDist().inv_cdf(1 - 0.025 / len(looks)))
        found = f"{best.hits} of {best.total} right, where {GUESSING} gives {self.chance:.0%}"
        if best.value <= self.chance:
            said.append(
                f"Neither shown your examples nor tuned on them is the model better than guessing: at best {found}. "
                "If that is so, more texts of its own will not help here: try a larger model, clearer label names and "
                "descriptions, or label more examples."
            )
        elif low <= self.chance:
            said.append(
                f"These answers are too few to say whether the model does better than guessing: at best {found}. "
                "A hundred labelled test texts would say it; name them in the task file as `test:`."
            )
        for overlap in self.overlaps:
            said.append(
                f"Of the texts asked for {overlap.intended!r} the model takes {overlap.share.value:.0%} for "
                f"{overlap.judged!r}: the two may overlap. Describe the difference, or join them."
            )
        return said


def estimate(job: Job, run: Run, n_folds: int, progress: Progress) -> Estimate:
    """Cross-fit the methods over the task's own examples, as a benchmark of folds in `run`.

    Raises:
        TaskError: A label has fewer examples than folds, or too few would be left.
    """
    tasks = folds_of(job.task, n_folds, job.seed)
    _check_left(job, tasks)
    names = [name for name in _METHODS if name != OURS or job.recipe.generate.synthetic_per_label]
    plan = BenchmarkPlan(
        tasks=tuple(tasks),
        methods=tuple(METHODS[name] for name in names),
        seeds=(job.seed,),
        recipe=job.recipe,
        engine=job.engine,
        shots_per_label=None,
    )
    results = run_benchmark(plan, run, progress)
    candidates, verdicts = _written(run.directory / draw_directory(cell) for cell in plan.cells())
    return Estimate(
        n_folds=n_folds,
        n_examples=len(job.task.examples),
        chance=chance_of(job.task.label_names, [example.label for example in job.task.examples]),
        methods=tuple(entry for name in names for entry in _pooled(name, results)),
        acceptance=acceptance(candidates, verdicts, job.task.label_names),
        overlaps=tuple(overlaps(candidates, verdicts, job.task.label_names)),
    )


def _check_left(job: Job, tasks: Sequence[Task]) -> None:
    least = job.recipe.least_shots
    for label in job.task.label_names:
        left = min(len(task.examples_of(label)) for task in tasks)
        if left < least:
            has = len(job.task.examples_of(label))
            raise TaskError(
                f"the label {label!r} has {has} examples, an estimate leaves {left} of them, the judges need {least}",
                where=job.task.source,
                mend=f"Label one more, or judge without halves: {job.recipe.filter.one_shot_settings}.",
            )


def identity(job: Job, n_folds: int) -> dict[str, object]:
    """Return what an estimate's directory is compared by."""
    of_job = {key: value for key, value in job.identity().items() if key != "task_name"}
    return {"benchmark": 1, "estimate": n_folds, "shots_per_label": None, **of_job}


def folds_of(task: Task, n_folds: int, seed: int) -> list[Task]:
    """Return the task without each fold of its examples, and tested on that fold; every label is in every fold.

    Raises:
        TaskError: Fewer than 2 folds, or a label with fewer examples than folds.
    """
    if n_folds < 2:
        raise TaskError(f"{n_folds} folds leave nothing to learn from", where="--folds", mend="Use 2 or more.")
    task.require_shots(n_folds)
    fold_of: dict[Example, int] = {}
    for label in task.label_names:
        own = sorted(task.examples_of(label), key=lambda example: example.text)
        stream(seed, "estimate", label).shuffle(own)
        fold_of |= {example: index % n_folds for index, example in enumerate(own)}
    return [
        replace(
            task,
            name=f"{task.name}, fold {fold + 1}",
            examples=tuple(example for example in task.examples if fold_of[example] != fold),
            test=tuple(example for example in task.examples if fold_of[example] == fold),
            warnings=(),
        )
        for fold in range(n_folds)
    ]


def _pooled(name: str, results: Sequence[TaskResults]) -> list[MethodEstimate]:
    """Return a method's answers over all folds; nothing of one that was left out of a fold (see `does_not_fit`)."""
    titles = [summary.title for result in results for summary in result.summaries if summary.spec == name]
    if len(titles) < len(results):
        return []
    return [MethodEstimate(name, titles[0], _right(name, "raw", results), _right(name, "pool", results))]


def _right(name: str, calibration: Calibration, results: Sequence[TaskResults]) -> Share:
    hits = total = 0
    for result in results:
        gold = gold_indices(result.task)
        for cell in result.cells:
            if cell.score.spec == name and cell.score.calibration == calibration:
                hits += sum(a == b for a, b in zip(gold, cell.predicted, strict=True))
                total += len(gold)
    return Share(hits, total)


def _written(draws: Iterable[Path]) -> tuple[list[Candidate], list[Verdict]]:
    candidates: list[Candidate] = []
    verdicts: list[Verdict] = []
    for run in dict.fromkeys(draws):  # cells share draws
        if (run / "verdicts.jsonl").is_file():
            candidates += [Candidate.from_row(row) for row in read_jsonl(run / "candidates.jsonl")]
            verdicts += [Verdict.from_row(row) for row in read_jsonl(run / "verdicts.jsonl")]
    return candidates, verdicts
