from __future__ import annotations

import pytest

from handful.report import measures
from tests.report.samples import needs


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(measures.NotThereError, match=r"handful\.evaluation\.metrics\.no_such"):
        measures._find("metrics", "no_such")
    with pytest.raises(measures.NotThereError, match=r"handful\.evaluation\.nowhere\.f"):
        measures._find("nowhere", "f")


def test_paired_difference() -> None:
    needs("uncertainty", "paired_difference")
    found = measures.paired_difference([True] * 30 + [False] * 10, [True] * 10 + [False] * 30, 0)
    assert found.mean == pytest.approx(0.5)
    assert 0.2 < found.low < 0.5 < found.high < 0.8


def test_confusion_matrix_and_labels() -> None:
    needs("metrics", "confusion_matrix")
    assert measures.confusion_matrix(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]) == [[1, 1], [0, 1]]
    found = {row.label: row for row in measures.per_label(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])}
    assert (found["a"].precision, found["a"].recall, found["a"].n_texts) == (1.0, 0.5, 2)


def test_calibration() -> None:
    needs("metrics", "calibration_error")
    probabilities, gold = [[0.8, 0.2]] * 10, [0] * 6 + [1] * 4
    assert measures.calibration_error(probabilities, gold) == pytest.approx(0.2)
    filled = [one for one in measures.reliability(probabilities, gold) if one.n_texts]
    assert [(one.n_texts, round(one.mean_confidence, 3), one.accuracy) for one in filled] == [(10, 0.8, 0.6)]


def test_words() -> None:
    needs("words", "log_odds")
    counts = measures.content_counts(["the film was lovely", "a lovely story 's"])
    assert counts == {"film": 1, "lovely": 2, "story": 1}
    found = measures.log_odds({"a": 9, "b": 1}, {"a": 1, "b": 9})
    assert [entry.word for entry in found] == ["a", "b"]


def test_diversity() -> None:
    needs("diversity", "measure_diversity")
    found = measures.measure_diversity(["one two three four", "one two three five"], ["one two three"], 0)
    assert (found.n_texts, found.n_words, found.unique_trigrams) == (2, 8, 3)
    assert found.overlap == pytest.approx(0.5)
    equal = measures.equal_length({"a": ["one two three"], "b": ["four"]}, 0)
    assert [len(" ".join(texts).split()) for texts in equal.values()] == [1, 1]
