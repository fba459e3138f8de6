"""Candidates in, verdicts out: the judges label each candidate, which is kept, moved to their label, or dropped.

In the paper (section 3) the judge is the same LLM in context, and what it disagrees with is dropped.

Nothing is deleted: every candidate gets a verdict with the reason and the scores it rests on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from handful.calibration import FloatArray, believed_shares, estimate_shift, label_probabilities
from handful.llm.protocol import LLM
from handful.prompts import classification_prefix, classification_prompt, targets
from handful.recipe import FilterRecipe, Recipe
from handful.records import Candidate, Decision, Example, LabelScores, Verdict
from handful.seeding import stream
from handful.task import Task


def judge_candidates(
    llm: LLM,
    task: Task,
    recipe: Recipe,
    candidates: Sequence[Candidate],
    shown: Sequence[Sequence[Example]],
) -> list[LabelScores]:
    """Score every label for every candidate in context.

    Args:
        llm: The judge.
        task: The task.
        recipe: How prompts are laid out.
        candidates: What is judged.
        shown: By the candidates' fold: the demonstrations, in order.

    Raises:
        ModelError: The demonstrations do not fit the model.
    """
    layout = recipe.prompt.format
    prefixes = [classification_prefix(task, demonstrations) for demonstrations in shown]
    prompts = [classification_prompt(prefixes[candidate.fold], candidate.text, layout) for candidate in candidates]
    log_probs = llm.score(prompts, targets(task, layout))
    return [LabelScores(c.id, tuple(map(float, row))) for c, row in zip(candidates, log_probs, strict=True)]


def decide(
    task: Task,
    candidates: Sequence[Candidate],
    rejected: Mapping[str, str],
    scores: Sequence[LabelScores],
    recipe: FilterRecipe,
    seed: int,
) -> list[Verdict]:
    """Turn scores into one verdict per candidate, in the candidates' order.

    The label prior of a judge in context is estimated on the scored candidates of a fold, since each fold is judged
    with demonstrations of its own; a tuned judge's on all.

    Args:
        task: The task.
        candidates: All candidates so far.
        rejected: Reason codes of those that were not judged.
        scores: The judge's scores of all others.
        recipe: The filter's settings.
        seed: Run seed; used by `method="random"` alone.
    """
    log_probs = {score.candidate_id: score.log_probs for score in scores}
    probabilities = _calibrated(task, [c for c in candidates if c.id in log_probs], log_probs, recipe)
    verdicts = []
    for candidate in candidates:
        if candidate.id in rejected:
            verdicts.append(Verdict(candidate.id, "rejected", rejected[candidate.id], candidate.intended_label))
        else:
            row = probabilities[candidate.id]
            verdicts.append(_verdict(task, candidate, row, log_probs[candidate.id], recipe))
    return _at_random(verdicts, candidates, seed) if recipe.method == "random" else verdicts


def _calibrated(
    task: Task,
    judged: Sequence[Candidate],
    log_probs: Mapping[str, tuple[float, ...]],
    recipe: FilterRecipe,
) -> dict[str, FloatArray]:
    result: dict[str, FloatArray] = {}
    folds = {candidate.id: candidate.fold if recipe.judge == "in_context" else 0 for candidate in judged}
    for fold in sorted(set(folds.values())):
        members = [candidate for candidate in judged if folds[candidate.id] == fold]
        pool = np.array([log_probs[candidate.id] for candidate in members])
        asked = [task.label_names.index(candidate.intended_label) for candidate in members]
        probabilities = label_probabilities(pool, _judges_shift(pool, asked, recipe))
        result |= {candidate.id: row for candidate, row in zip(members, probabilities, strict=True)}
    return result


def _judges_shift(pool: FloatArray, asked: Sequence[int], recipe: FilterRecipe) -> FloatArray:
    if recipe.calibration == "believed":
        return estimate_shift(pool, "match", believed_shares(pool, asked))
    return estimate_shift(pool, recipe.calibration)


def _verdict(
    task: Task, candidate: Candidate, row: FloatArray, log_probs: tuple[float, ...], recipe: FilterRecipe
) -> Verdict:
    intended = task.label_names.index(candidate.intended_label)
    others = np.delete(row, intended)
    margin = float(row[intended] - others.max())
    best = int(row.argmax())
    decision: Decision = "rejected"
    label, reason = candidate.intended_label, "disagrees"
    if recipe.method == "none":
        decision, reason = "kept", "unfiltered"
    elif best == intended:
        decision, reason = ("kept", "agrees") if margin >= recipe.min_margin else ("rejected", "low_margin")
    elif recipe.relabel and row[best] - np.delete(row, best).max() >= recipe.relabel_margin:
        label, decision, reason = task.label_names[best], "relabelled", "relabelled"
    return Verdict(
        candidate_id=candidate.id,
        decision=decision,
        reason=reason,
        label=label,
        label_probabilities=tuple(map(float, row)),
        log_probs=log_probs,
        margin=margin,
    )


def _at_random(verdicts: Sequence[Verdict], candidates: Sequence[Candidate], seed: int) -> list[Verdict]:
    """The ablation: keep as many per label as agreement would, but whichever."""
    intended = {candidate.id: candidate.intended_label for candidate in candidates}
    judged = [v for v in verdicts if v.label_probabilities]
    kept: set[str] = set()
    for label in sorted(set(intended.values())):
        own = [v.candidate_id for v in judged if intended[v.candidate_id] == label]
        agreed = sum(v.decision == "kept" for v in judged if intended[v.candidate_id] == label)
        kept |= set(stream(seed, "random-filter", label).sample(own, agreed))
    return [
        dataclasses.replace(
            v,
            decision="kept" if v.candidate_id in kept else "rejected",
            reason="random" if v.candidate_id in kept else "not_drawn",
            label=intended[v.candidate_id],
        )
        if v.label_probabilities
        else v
        for v in verdicts
    ]
