import json

import pytest

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


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(TypeError):
        Example.from_row({"text": "a", "label": "b", "other": 1})
