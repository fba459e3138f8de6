"""Who checks the candidates: the LLM in context (paper, section 3), or the LLM after in-context tuning.

Tuned judges have seen nothing but the real examples either, but label better than in-context or LoRA-k models do. Each
errs in its own way, so that several together label better still (docs/experiments.md, 2026-11-25).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from handful.calibration import softmax
from handful.demonstrations import judge_examples, split_folds
from handful.filter import judge_candidates
from handful.in_context_tuning import judge_plan, n_steps, shown_of, split_halves
from handful.job import Job
from handful.progress import Progress
from handful.prompts import classification_prefix, classification_prompt, targets
from handful.records import Candidate, Example, LabelScores
from handful.run import Run, fingerprint
from handful.seeding import derive_seed, stream
from handful.tuning import follow_plan, tuned_llm
from handful.words import count_bytes

Judge = Callable[[Sequence[Candidate]], list[LabelScores]]
_ROOM = " and" * 8
"""For a candidate's few tokens more; see `generate.max_new_tokens`."""
_TINY = 1e-12
"""Keeps the logarithm of a probability finite."""


def check_judges_fit(job: Job) -> None:
    """Check that the model can read the judges' prompts, before hours go into texts that it could not judge.

    Raises:
        PromptTooLongError: It cannot.
    """
    shown = {tuple(own) for index in range(job.recipe.filter.judges) for own in judge_demonstrations(job, index)}
    prefixes = [classification_prefix(job.task, demonstrations) for demonstrations in shown]
    if job.recipe.filter.judge == "tuned":
        seeds = [derive_seed(job.seed, "judge", index) for index in range(job.recipe.filter.judges)]
        plans = [judge_plan(job.task, job.recipe, seed) for seed in seeds]
        prefixes += [episode.prefix for plan in plans for episode in plan.episodes]
    longest = max((example.text for example in job.task.examples), key=count_bytes)
    asked = f"{longest} {longest}{_ROOM}"  # a candidate may be twice as long as the longest example
    for prefix in prefixes:
        prompt = classification_prompt(prefix, asked, job.recipe.prompt.format)
        job.llm().prompt_tokens(prompt, targets(job.task))


def tune_judge(job: Job, index: int, run: Run, progress: Progress) -> Mapping[str, bytes]:
    """Return the adapter of a judge, by file name; none for a judge in context.

    Raises:
        Interrupted: The progress asked to stop; the tuning goes on from its checkpoint.
        ModelError: The examples do not fit the model.
    """
    if job.recipe.filter.judge == "in_context":
        return {}
    plan = judge_plan(job.task, job.recipe, derive_seed(job.seed, "judge", index))
    return follow_plan(job, plan, run, progress, stage=f"tune judge {index + 1}", key=_key(job, index))


def open_judge(job: Job, index: int, files: Mapping[str, bytes]) -> Judge:
    """Return what scores every label for some candidates; `files` is what `tune_judge` returned."""
    shown = judge_demonstrations(job, index)
    llm = job.llm() if job.recipe.filter.judge == "in_context" else tuned_llm(job, files, quick=True)
    return lambda candidates: judge_candidates(llm, job.task, job.recipe, candidates, shown)


def dismiss_judges(job: Job, run: Run) -> None:
    """Delete the checkpoints of the judges' tuning, when everything is judged."""
    for index in range(job.recipe.filter.judges):
        run.clear_checkpoints(_key(job, index))


def judge_demonstrations(job: Job, index: int) -> list[list[Example]]:
    """Return what a judge is shown, by the candidates' fold, in an order of its own.

    In context it is the other fold's examples: those that did not stand in the candidate's own prompt (all, where there
    is one fold). A tuned judge knows all of them anyway; it is shown half, as it was while it was tuned.
    """
    folds = split_folds(job.task, job.seed, cross_fit=job.recipe.filter.cross_fit)
    if job.recipe.filter.judge == "in_context":
        return [judge_examples(folds, fold, job.seed, index) for fold in range(len(folds))]
    half, _ = split_halves(job.task, stream(job.seed, "judge-half", index))
    return [shown_of(job.task, half)] * len(folds)


def joint_scores(of_judges: Sequence[Sequence[LabelScores]]) -> list[LabelScores]:
    """Return what judges say together: the log of their mean probabilities; of one judge, what it says.

    Args:
        of_judges: By judge, the scores of the same candidates in the same order.
    """
    log_probs = np.array([[score.log_probs for score in scores] for scores in of_judges])
    if len(of_judges) > 1 and log_probs.size:
        log_probs = np.log(softmax(log_probs).mean(axis=0) + _TINY)[None]
    rows = log_probs[0].tolist()
    return [LabelScores(score.candidate_id, tuple(row)) for score, row in zip(of_judges[0], rows, strict=True)]


def _key(job: Job, index: int) -> str:
    # The learning rate of a step goes by how many there are, which versions count differently.
    steps = n_steps(job.task, job.recipe.filter)
    inputs = [job.task.fingerprint(), job.recipe.prompt, job.recipe.filter, job.seed, job.engine.fingerprint(), steps]
    return f"judge{index}-{fingerprint(inputs)}"
