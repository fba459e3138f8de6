"""Real examples and verdicts in, training rows out: which texts, under which label, with which weight.

And which of the candidates label priors are estimated on.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence

from handful.recipe import Recipe
from handful.records import Candidate, TrainingExample, Verdict
from handful.task import Task

_STARVING = 0.25
"""See `least_kept`."""
POOL_TEXTS = 160
"""At most so many: a prior of a few labels needs no more, and every method scores them all."""


def real_rows(task: Task, recipe: Recipe) -> list[TrainingExample]:
    """Return the user's examples as training rows, each with the recipe's `real_weight`."""
    weight = recipe.train.real_weight
    return [TrainingExample(e.text, e.label, "real", weight) for e in task.examples]


def training_rows(
    task: Task,
    recipe: Recipe,
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    most_per_label: int | None = None,
) -> list[TrainingExample]:
    """Return real examples followed by the first N accepted candidates of each label, labels balanced by weight.

    N is the recipe's, or `most_per_label` where that is less. First is what was written first where all labels are
    written in turn: in the order of the candidates, a late label would begin with what was moved to it from the others.

    Every label has the same total weight, so that a label for which little was kept is not learnt as rare; training
    divides by the weight of each batch, which evens out a part of it. Without the judge (`filter.method` random or
    none) texts have the label they were written for, not its probabilities.
    """
    by_id = {candidate.id: candidate for candidate in candidates}
    accepted: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in sorted(verdicts, key=lambda verdict: by_id[verdict.candidate_id].turn):
        if verdict.decision != "rejected":
            accepted[verdict.label].append(verdict)
    rows = real_rows(task, recipe)
    judged = recipe.train.soft_targets and recipe.filter.method == "agreement"
    n_synthetic = min(recipe.generate.synthetic_per_label, most_per_label or recipe.generate.synthetic_per_label)
    for label in task.label_names:
        for verdict in accepted[label][:n_synthetic]:
            soft = verdict.label_probabilities if judged else ()
            rows.append(TrainingExample(by_id[verdict.candidate_id].text, label, "synthetic", 1.0, soft))
    return _balanced(rows)


def least_kept(synthetic_per_label: int, *, relabel: bool) -> float:
    """Return from how few kept texts a label is starving: less than N.

    Where every text is used under the label it is judged to have, no label is due as many as any other: there it is
    less than a quarter of N.
    """
    return synthetic_per_label * (_STARVING if relabel else 1)


def calibration_pool(candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> list[str]:
    """Return texts to estimate label priors on: an even sample of the judged candidates, kept or not."""
    judged = [candidate.text for candidate, verdict in zip(candidates, verdicts, strict=True) if verdict.log_probs]
    return judged[:: max(1, math.ceil(len(judged) / POOL_TEXTS))]


def _balanced(rows: Sequence[TrainingExample]) -> list[TrainingExample]:
    totals: dict[str, float] = defaultdict(float)
    for row in rows:
        totals[row.label] += row.weight
    mean = sum(totals.values()) / len(totals)
    return [dataclasses.replace(row, weight=row.weight * mean / totals[row.label]) for row in rows]
