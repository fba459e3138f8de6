from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from handful.prediction_rows import OutputFormat, encode_predictions, first_formula, header, holds_predictions
from handful.records import Prediction

LABELS = ("a,b", "c")


def prediction(text_id: str, label: str = "c") -> Prediction:
    return Prediction(text_id, label, {"a,b": 0.25, "c": 0.75})


def test_lines_as_they_always_were() -> None:
    rows = [prediction("7"), prediction('8 "x"', "a,b")]
    assert header(LABELS, "csv") + encode_predictions(rows, "csv") == (
        b'id,label,probability,"p:a,b",p:c,cut\n7,c,0.75,0.25,0.75,false\n"8 ""x""","a,b",0.25,0.25,0.75,false\n'
    )
    assert encode_predictions(rows[:1], "tsv") == b"7\tc\t0.75\t0.25\t0.75\tfalse\n"
    assert header(LABELS, "jsonl") + encode_predictions(rows[:1], "jsonl") == (
        b'{"id": "7", "label": "c", "probability": 0.75, "probabilities": {"a,b": 0.25, "c": 0.75}, "cut": false}\n'
    )


@pytest.mark.parametrize("text_id", ["a\rb", "\r", "\ra", "a\r\n", "\n"])
def test_line_ends_within_an_id_are_quoted(text_id: str) -> None:
    lines = encode_predictions([prediction(text_id), prediction("2")], "csv").decode()
    assert lines == f'"{text_id}",c,0.75,0.25,0.75,false\n2,c,0.75,0.25,0.75,false\n'
    read = csv.reader(io.StringIO(lines, newline=""), strict=True)
    assert [row[0] for row in read] == [text_id, "2"]


@pytest.mark.parametrize("text", ["=1+1", "=x", "+x", "-x", "- item", "@SUM(A1)", "\t=1", "\r=1", "-1-2", "-5x", "--5"])
def test_what_spreadsheets_compute(text: str) -> None:
    assert first_formula([prediction("1"), prediction(text)]) == text
    assert first_formula([Prediction("1", text, {text: 1.0})]) == text


@pytest.mark.parametrize("text", ["-5", "+5", "-.5", "-1.5e-3", "+3%", "-1,000", "-", "@", "a=b", "1-2", "\tx", ""])
def test_what_spreadsheets_show_as_it_is(text: str) -> None:
    assert first_formula([prediction(text)]) is None


@pytest.mark.parametrize("written_as", ["csv", "tsv", "jsonl"])
def test_predictions_are_known_again(tmp_path: Path, written_as: OutputFormat) -> None:
    path = tmp_path / "out"
    for rows in ([], [prediction("1"), prediction("2")]):
        path.write_bytes(header(LABELS, written_as) + encode_predictions(rows, written_as))
        assert holds_predictions(path)


@pytest.mark.parametrize(
    "content",
    [
        b"text,label\n",
        b"id,label\n1,a\n",
        b"id,label,probability\n1,a,0.5\n",
        b'{"text": "x", "label": "a"}\n',
        b'{"id": "1", "label": "a"}\n',
        b"[1]\n",
        b"\n",
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_a_person_wrote_holds_no_predictions(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out"
    path.write_bytes(content)
    assert not holds_predictions(path)
