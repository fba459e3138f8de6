"""The whole method in one place: write and check until there is enough, tune, compare.

`run_pipeline` is the paper (Patwa et al. 2024) from top to bottom. Every stage is a function of the ones before it; the
run directory keeps each finished piece, so that the same call after a crash goes on where it stopped.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handful.errors import RunError
from handful.evaluation.evaluate import evaluate_methods
from handful.filter import decide
from handful.generate import Tally, plan_round
from handful.job import Job
from handful.judge import check_judges_fit, dismiss_judges, tune_judge
from handful.progress import Progress, Silent
from handful.recipe import Recipe
from handful.records import Candidate, LabelScores, TrainingExample, Verdict
from handful.rounds import judge_round, out_of_time, write_round
from handful.run import Run
from handful.screening import screen_candidates
from handful.task import Task
from handful.training_set import calibration_pool, least_kept, training_rows
from handful.tuning import tune_classifier

Stage = Literal["generate", "filter", "train", "evaluate"]


@dataclass(frozen=True)
class Outcome:
    """What a run made, as far as it went."""

    tallies: Mapping[str, Tally]
    rows: Sequence[TrainingExample] = ()
    results: Mapping[str, Any] | None = None
    """See `evaluate_methods`; None without test texts."""


@dataclass(frozen=True)
class Written:
    """The candidates of all rounds, and what became of each."""

    candidates: Sequence[Candidate]
    rejected: Mapping[str, str]
    """Reason code by id of those that did not pass screening."""
    scores: Sequence[LabelScores]
    """The judge's, of all others."""
    verdicts: Sequence[Verdict]


def run_pipeline(job: Job, run: Run, *, until: Stage = "evaluate", progress: Progress | None = None) -> Outcome:
    """Do the job in an open run directory, as far as the stage `until`.

    Raises:
        HandfulError: Anything a user can mend; what was finished before stays.
        Interrupted: The progress asked to stop.
    """
    job.task.require_shots(job.recipe.least_shots)
    progress = progress or Silent()
    run.publish_json("task", job.task.to_dict())
    written = write_and_check(job, run, progress)
    tallies = tally(job.task, written.candidates, written.verdicts)
    rows = training_rows(job.task, job.recipe, written.candidates, written.verdicts)
    run.publish("training", [row.to_row() for row in rows])
    if until == "generate":
        return Outcome(tallies, rows)
    _name_starving(job, tallies, progress)
    if until == "filter":
        return Outcome(tallies, rows)
    if not written.candidates and job.recipe.classify.calibration != "none":
        progress.warn("classify.calibration needs written texts to estimate the prior on: nothing is taken out")
    pool = calibration_pool(written.candidates, written.verdicts)
    tune_classifier(job, rows, pool, run, progress)
    if until == "train" or not job.task.test:
        return Outcome(tallies, rows)
    return Outcome(tallies, rows, evaluate_methods(job, pool, run, progress))


def write_and_check(job: Job, run: Run, progress: Progress) -> Written:
    """Generate and filter in turn until every label has N examples or its budget is spent; with N = 0, nothing.

    Raises:
        RunError: Not one candidate was kept.
        PromptTooLongError: The model cannot read the judges' prompts; nothing is written then.
    """
    if not job.recipe.generate.synthetic_per_label:
        run.publish("candidates", [])
        run.publish("verdicts", [])
        return Written([], {}, [], [])
    candidates: list[Candidate] = []
    scores: list[LabelScores] = []
    rejected: Mapping[str, str] = {}
    verdicts: list[Verdict] = []
    adapter_of = functools.cache(lambda index: tune_judge(job, index, run, progress))
    if not run.has_step("candidates-0-0"):
        check_judges_fit(job)
    seconds = 0.0
    for round_index in range(job.recipe.generate.max_rounds):
        batches = plan_round(round_index, tally(job.task, candidates, verdicts), job.recipe)
        if not batches or out_of_time(job.recipe, seconds):
            break
        new, seconds = write_round(job, run, batches, progress, candidates, seconds)
        candidates += new
        run.publish("candidates", [candidate.to_row() for candidate in candidates])
        rejected = screen_candidates(candidates, job.task.examples, job.recipe.filter)
        screened = [candidate for candidate in new if candidate.id not in rejected]
        scores += judge_round(job, run, round_index, screened, adapter_of, progress)
        verdicts = decide(job.task, candidates, rejected, scores, job.recipe.filter, job.seed)
        run.publish("verdicts", [verdict.to_row() for verdict in verdicts])
    dismiss_judges(job, run)
    if not any(verdict.decision != "rejected" for verdict in verdicts):
        raise RunError(
            f"not one of {len(verdicts)} candidates was kept",
            where=str(run.directory),
            mend="Look at verdicts.jsonl for the reasons; a clearer instruction or label descriptions help most.",
        )
    return Written(candidates, rejected, scores, verdicts)


def tally(task: Task, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, Tally]:
    """Count per label what was written for it and what was kept under it."""
    written = dict.fromkeys(task.label_names, 0)
    kept = dict.fromkeys(task.label_names, 0)
    for candidate in candidates:
        written[candidate.intended_label] += 1
    for verdict in verdicts:
        kept[verdict.label] += verdict.decision != "rejected"
    return {label: Tally(written[label], kept[label]) for label in task.label_names}


def starving_labels(tallies: Mapping[str, Tally], recipe: Recipe) -> list[str]:
    """Return the labels for which too little was kept; see `least_kept`."""
    least = least_kept(recipe.generate.synthetic_per_label, relabel=recipe.filter.relabel)
    return [label for label, count in tallies.items() if count.kept < least]


def _name_starving(job: Job, tallies: Mapping[str, Tally], progress: Progress) -> None:
    wanted = job.recipe.generate.synthetic_per_label
    for label in starving_labels(tallies, job.recipe):
        count = tallies[label]
        progress.warn(
            f"label {label!r} has {count.kept} of {wanted} synthetic examples, though {count.written} candidates were "
            "written for it. A clearer description of the label or more varied examples help most; "
            "--set generate.max_candidates_per_label=... writes more."
        )
