import json
import math
from typing import Any

import pytest

from handful.errors import RunError
from handful.records import Candidate, Example, LabelScores, Prediction, Record, TrainingExample, Verdict

RECORDS: list[Record] = [
    Example("a\n\u2028é\ud83d", "x"),
    Candidate("0-1-2", "t", "x", 7, "p", 1, False),
    LabelScores("0-1-2", (-0.5, -1.25)),
    Verdict("0-1-2", "relabelled", "relabelled", "y", (0.25, 0.75), (-1.0, -2.0), -0.5),
    Verdict("0-1-2", "rejected", "too_short", "x"),
    TrainingExample("t", "x", "synthetic", 0.5, (0.1, 0.9)),
    TrainingExample("t", "x", "real"),
    Prediction("1", "x", {"x": 0.75, "y": 0.25}, True),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_survive_json(record: Record) -> None:
    row = json.loads(json.dumps(record.to_row()))
    assert type(record).from_row(row) == record


def test_fields_keep_their_order() -> None:
    assert list(RECORDS[1].to_row()) == [
        "id",
        "text",
        "intended_label",
        "seed",
        "prompt_id",
        "fold",
        "finished",
        "n_tokens",
    ]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"text": "a", "label": "b", "other": 1}, "as Example: its keys are others"),
        ({"text": "a"}, "as Example: its keys are others"),
        (["a", "b"], "as Example: its keys are others"),
        ({"text": 5, "label": "b"}, "as Example: text: Input should be a valid string"),
        ({"text": "a", "label": None}, "as Example: label: Input should be a valid string"),
    ],
)
def test_rows_of_another_kind_are_refused(row: Any, why: str) -> None:
    with pytest.raises(RunError, match=f"^a row cannot be understood {why}"):
        Example.from_row(row)


@pytest.mark.parametrize(
    "change",
    [
        {"log_probs": [-0.5, "a"]},
        {"log_probs": [-0.5, math.nan]},
        {"log_probs": -0.5},
        {"decision": "maybe"},
        {"margin": "0.5"},
    ],
)
def test_values_of_another_kind_are_refused(change: dict[str, Any]) -> None:
    row = {**RECORDS[3].to_row(), **change}
    with pytest.raises(RunError, match=f"as Verdict: {next(iter(change))}"):
        Verdict.from_row(row)


def test_values_come_back_as_they_were_written() -> None:
    row = {**RECORDS[5].to_row(), "weight": 2}
    assert repr(TrainingExample.from_row(row).weight) == "2"
