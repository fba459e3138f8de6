"""The whole method in one place: write and check until there is enough, tune, compare.

`run_pipeline` is the paper (Patwa et al. 2024) from top to bottom. Every stage is a pure function of the ones before it;
the run directory keeps each finished piece, so that the same call after a crash goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handful.demonstrations import split_folds
from handful.errors import Interrupted, RunError
from handful.evaluation.evaluate import evaluate_methods
from handful.filter import decide, judge_candidates
from handful.generate import Tally, generate_batch, max_new_tokens, plan_round
from handful.llm.engine import Engine
from handful.llm.protocol import LLM
from handful.progress import Progress, Silent
from handful.recipe import Recipe
from handful.records import Candidate, LabelScores, TrainingExample, Verdict
from handful.run import Run, fingerprint
from handful.screening import screen_candidates
from handful.task import Task
from handful.training_set import training_rows
from handful.tuning import tune_classifier

Stage = Literal["generate", "filter", "train", "evaluate"]
_JUDGED_AT_ONCE = 64
"""Candidates scored together: the unit that is saved."""


@dataclass(frozen=True)
class Job:
    """Everything that decides the results of a run."""

    task: Task
    recipe: Recipe
    seed: int
    engine: Engine

    def identity(self) -> dict[str, Any]:
        """Return what a run directory is compared by."""
        return {
            "task": self.task.fingerprint(),
            "task_name": self.task.name,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "model": self.engine.name,
            "model_fingerprint": self.engine.fingerprint(),
        }

    def llm(self) -> LLM:
        """Return the base model, loaded when first asked for."""
        return self.engine.llm(max_text_tokens=self.recipe.prompt.max_text_tokens)


@dataclass(frozen=True)
class Outcome:
    """What a run made."""

    tallies: Mapping[str, Tally]
    rows: Sequence[TrainingExample] = ()
    results: Mapping[str, Any] | None = None


def run_pipeline(job: Job, run: Run, *, until: Stage = "evaluate", progress: Progress | None = None) -> Outcome:
    """Do the job in an open run directory, as far as the stage `until`.

    Raises:
        HandfulError: Anything a user can mend; what was finished before stays.
        Interrupted: The progress asked to stop.
    """
    progress = progress or Silent()
    candidates, verdicts = write_and_check(job, run, progress)
    tallies = tally(job.task, candidates, verdicts)
    if until == "generate":
        return Outcome(tallies)
    rows = training_rows(job.task, job.recipe, candidates, verdicts)
    run.publish("training", [row.to_row() for row in rows])
    _name_starving(job, tallies, progress)
    if until == "filter":
        return Outcome(tallies, rows)
    pool = [candidate.text for candidate, verdict in zip(candidates, verdicts, strict=True) if verdict.log_probs]
    tune_classifier(job.task, job.recipe, job.engine, job.seed, rows, pool, run, progress)
    if until == "train" or not job.task.test:
        return Outcome(tallies, rows)
    results = evaluate_methods(job.task, job.recipe, job.engine, job.seed, pool, run, progress)
    return Outcome(tallies, rows, results)


def write_and_check(job: Job, run: Run, progress: Progress) -> tuple[list[Candidate], list[Verdict]]:
    """Generate and filter in turn until every label has N examples or its budget is spent."""
    recipe, task = job.recipe, job.task
    started = time.monotonic()
    folds = split_folds(task, job.seed, cross_fit=recipe.filter.cross_fit)
    inputs = {
        **job.identity(),
        "recipe": {"prompt": recipe.prompt, "generate": recipe.generate, "filter": recipe.filter},
    }
    base = fingerprint(inputs)
    candidates: list[Candidate] = []
    verdicts: list[Verdict] = []
    scores: list[LabelScores] = []
    for round_index in range(recipe.generate.max_rounds):
        batches = plan_round(round_index, tally(task, candidates, verdicts), recipe, n_folds=len(folds))
        if not batches or _out_of_time(recipe, started):
            break
        progress.start(f"write, round {round_index + 1}", sum(batch.n_candidates for batch in batches), "texts")
        for batch in batches:
            _stop_if_asked(progress)
            name = f"candidates-{batch.round_index}-{task.label_names.index(batch.label)}-{batch.index}"
            rows = run.step(
                name,
                [base, batch],
                lambda batch=batch: [  # type: ignore[misc]  # bound now, called at once
                    c.to_row()
                    for c in generate_batch(
                        job.llm(), task, recipe, batch, folds, max_new_tokens(job.llm(), task, recipe), job.seed
                    )
                ],
            )
            candidates += [Candidate.from_row(row) for row in rows]
            progress.advance(batch.n_candidates)
        run.publish("candidates", [candidate.to_row() for candidate in candidates])
        progress.finish(f"{len(candidates)} candidates")
        rejected = screen_candidates(candidates, task.examples, recipe.filter)
        scores += _judge(job, run, base, [c for c in candidates if c.id not in rejected], scores, progress, round_index)
        judged = [score for score in scores if score.candidate_id not in rejected]
        verdicts = decide(task, candidates, rejected, judged, recipe.filter, job.seed)
        run.publish("verdicts", [verdict.to_row() for verdict in verdicts])
    if not any(verdict.decision != "rejected" for verdict in verdicts):
        raise RunError(
            f"not one of {len(verdicts)} candidates was kept",
            where=str(run.directory),
            mend="Look at verdicts.jsonl for the reasons; a clearer instruction or label descriptions help most.",
        )
    return candidates, verdicts


def tally(task: Task, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, Tally]:
    """Count per label what was written for it and what was kept under it."""
    written = dict.fromkeys(task.label_names, 0)
    kept = dict.fromkeys(task.label_names, 0)
    for candidate in candidates:
        written[candidate.intended_label] += 1
    for verdict in verdicts:
        kept[verdict.label] += verdict.decision != "rejected"
    return {label: Tally(written[label], kept[label]) for label in task.label_names}


def _judge(
    job: Job,
    run: Run,
    base: str,
    passed: Sequence[Candidate],
    known: Sequence[LabelScores],
    progress: Progress,
    round_index: int,
) -> list[LabelScores]:
    """Score the candidates that have no scores yet, in saved pieces of one fold each."""
    have = {score.candidate_id for score in known}
    todo = sorted((c for c in passed if c.id not in have), key=lambda candidate: candidate.fold)
    folds = split_folds(job.task, job.seed, cross_fit=job.recipe.filter.cross_fit)
    progress.start(f"check, round {round_index + 1}", len(todo), "texts")
    scores: list[LabelScores] = []
    for start in range(0, len(todo), _JUDGED_AT_ONCE):
        _stop_if_asked(progress)
        part = todo[start : start + _JUDGED_AT_ONCE]
        work: Callable[[], list[dict[str, Any]]] = lambda part=part: [  # type: ignore[misc]
            s.to_row() for s in judge_candidates(job.llm(), job.task, job.recipe, part, folds, job.seed)
        ]
        name = f"scores-{round_index}-{start // _JUDGED_AT_ONCE}"
        rows = run.step(name, [base, [candidate.to_row() for candidate in part]], work)
        scores += [LabelScores.from_row(row) for row in rows]
        progress.advance(len(part))
    progress.finish(f"{len(todo)} candidates checked")
    return scores


def _out_of_time(recipe: Recipe, started: float) -> bool:
    limit = recipe.generate.max_seconds
    return limit is not None and time.monotonic() - started > limit


def _stop_if_asked(progress: Progress) -> None:
    if progress.stop_requested():
        raise Interrupted("stopped; everything finished so far is saved")


def _name_starving(job: Job, tallies: Mapping[str, Tally], progress: Progress) -> None:
    wanted = job.recipe.generate.synthetic_per_label
    for label, count in tallies.items():
        if count.kept < wanted:
            progress.warn(
                f"label {label!r} has {count.kept} of {wanted} synthetic examples: {count.acceptance_rate:.0%} of "
                f"{count.written} candidates were kept. A clearer description of the label or more varied examples "
                "help most; --set generate.max_candidates_per_label=... writes more."
            )
