"""Answers in, scores out: each cell as it answers, and with label priors taken out.

Calibration on the generated pool sees no test text. Calibration on the test texts is transductive: it stands in rows of
its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from handful.calibration import FloatArray, estimate_shift, label_probabilities
from handful.evaluation.metrics import brier_score, calibration_error, log_loss, macro_f1
from handful.task import Task

Calibration = Literal["raw", "pool", "test"]


@dataclass(frozen=True)
class CellScore:
    """One cell under one calibration: one row of accuracy.csv."""

    task: str
    method: str
    spec: str
    """The method as it was asked for, such as `lora_real:25`."""
    recipe: str
    shots_per_label: int | str
    synthetic_per_label: int
    """At most; see `n_training`."""
    n_training: int
    """Examples it was tuned or fitted on, or shown."""
    seed: int
    n_test: int
    accuracy: float
    macro_f1: float
    ece: float
    brier: float
    log_loss: float
    ms_per_text: float
    latency_p50_ms: float
    latency_p95_ms: float
    prompt_tokens: float
    train_seconds: float | None
    generate_seconds: float | None
    peak_memory_mb: float | None
    calibration: Calibration
    """`raw`: as the method answers (with what its recipe stores); `pool`, `test`: prior taken out on those texts."""
    transductive: bool
    """Whether test texts were looked at before they were answered."""
    commit: str

    def to_row(self) -> dict[str, Any]:
        """Return the fields in order."""
        return asdict(self)


@dataclass(frozen=True)
class ScoredCell:
    """A score, and the answers it was made from."""

    score: CellScore
    predicted: tuple[int, ...]
    """Column of each test text's likeliest label."""
    n_of_recipe: int
    """N of the recipe; `CellScore.synthetic_per_label` is less where the method takes the first few alone."""


def scored(task: Task, row: Mapping[str, Any]) -> list[ScoredCell]:
    """Score a cell's row (see `cell.measured`) under every calibration it can have."""
    gold, n = gold_indices(task), row["recipe_settings"]["generate"]["synthetic_per_label"]
    return [
        ScoredCell(_score(task, row, gold, own, calibration), tuple(map(int, own.argmax(axis=1))), n)
        for calibration, own in calibrated(row)
    ]


def gold_indices(task: Task) -> list[int]:
    """Return the column of each test text's true label."""
    places = {label: index for index, label in enumerate(task.label_names)}
    return [places[example.label] for example in task.test or ()]


def calibrated(row: Mapping[str, Any]) -> Iterator[tuple[Calibration, FloatArray]]:
    """Yield the probabilities of a cell's row under each calibration, shape (n_texts, n_labels)."""
    log_probs = np.array(row["log_probs"])
    yield "raw", label_probabilities(log_probs, row["shift"])
    if row["pool_log_probs"]:
        yield "pool", label_probabilities(log_probs, estimate_shift(row["pool_log_probs"], "match"))
        yield "test", label_probabilities(log_probs, estimate_shift(log_probs, "match"))


def _score(
    task: Task, row: Mapping[str, Any], gold: Sequence[int], probabilities: FloatArray, calibration: Calibration
) -> CellScore:
    predicted = probabilities.argmax(axis=1)
    names = task.label_names
    kept = {key: row[key] for key in CellScore.__dataclass_fields__ if key in row}
    return CellScore(
        **kept,
        accuracy=float((predicted == np.array(gold)).mean()),
        macro_f1=macro_f1([names[i] for i in gold], [names[i] for i in predicted], names),
        ece=calibration_error(probabilities, gold),
        brier=brier_score(probabilities, gold),
        log_loss=log_loss(probabilities, gold),
        calibration=calibration,
        transductive=calibration == "test",
    )
