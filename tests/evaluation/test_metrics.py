import math

import numpy as np
import pytest

from handful.evaluation.metrics import (
    LabelMetrics,
    brier_score,
    calibration_error,
    confusion_matrix,
    log_loss,
    macro_f1,
    per_label,
    reliability,
    score_predictions,
    wilson_interval,
)


def test_scores_of_a_hand_made_case() -> None:
    scores = score_predictions(["a", "a", "b", "b"], ["a", "b", "b", "b"], ["a", "b"])
    assert (scores.n_texts, scores.accuracy) == (4, 0.75)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)
    assert scores.accuracy_low < 0.75 < scores.accuracy_high


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 2, 0.0945, 0.9055)],
)
def test_wilson_interval_matches_published_values(right: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=1e-4)


def test_wilson_interval_covers_the_true_rate() -> None:
    chance = np.random.default_rng(0)
    covered = 0
    for hits in chance.binomial(50, 0.8, size=2000):
        low, high = wilson_interval(int(hits), 50)
        covered += low <= 0.8 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def test_macro_f1_agrees_with_the_confusion_matrix() -> None:
    chance = np.random.default_rng(1)
    labels = ["a", "b", "c", "d"]
    for _ in range(20):
        gold = chance.choice(labels[:3], 30).tolist()
        predicted = chance.choice(labels, 30).tolist()
        matrix = np.zeros((4, 4))
        for true, claimed in zip(gold, predicted, strict=True):
            matrix[labels.index(true), labels.index(claimed)] += 1
        present = matrix.sum(0) + matrix.sum(1) > 0
        with np.errstate(invalid="ignore"):
            precision, recall = matrix.diagonal() / matrix.sum(0), matrix.diagonal() / matrix.sum(1)
            f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
        assert macro_f1(gold, predicted, labels) == pytest.approx(f1[present].mean())


def test_labels_that_never_occur_do_not_count() -> None:
    assert macro_f1(["a"], ["a"], ["a", "b"]) == 1.0
    assert macro_f1([], [], ["a"]) == 0.0


def test_lengths_must_match() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        score_predictions(["a"], ["a", "b"], ["a", "b"])


GOLD = ["a", "a", "b", "c"]
PREDICTED = ["a", "b", "b", "a"]


def test_confusions_are_counted_by_true_and_predicted_label() -> None:
    assert confusion_matrix(GOLD, PREDICTED, ("a", "b", "c")) == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_each_label_has_its_scores() -> None:
    a, b, c = per_label(GOLD, PREDICTED, ("a", "b", "c"))
    assert a == LabelMetrics("a", 0.5, 0.5, 0.5, 2)
    assert b == LabelMetrics("b", 0.5, 1.0, pytest.approx(2 / 3), 1)  # type: ignore[arg-type]
    assert c == LabelMetrics("c", 0.0, 0.0, 0.0, 1)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    rows = [[0.9, 0.1]] * 10
    assert calibration_error(rows, [0] * 9 + [1]) == pytest.approx(0.0)
    assert calibration_error(rows, [0] * 5 + [1] * 5) == pytest.approx(0.4)
    mixed = [[0.95, 0.05], [0.55, 0.45]]
    assert calibration_error(mixed, [0, 1]) == pytest.approx((0.05 + 0.55) / 2)


def test_a_confidence_on_an_edge_is_in_the_lower_bin() -> None:
    bins = reliability([[0.6, 0.4], [1.0, 0.0], [0.5, 0.5]], [0, 0, 1])
    assert [(round(entry.low, 1), entry.n_texts) for entry in bins if entry.n_texts] == [(0.4, 1), (0.5, 1), (0.9, 1)]
    assert sum(entry.n_texts for entry in bins) == 3


def test_proper_scores_by_hand() -> None:
    rows = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]
    assert brier_score(rows, [0, 2]) == pytest.approx(((0.3**2 + 0.2**2 + 0.1**2) + (0.1**2 + 0.8**2 + 0.9**2)) / 2)
    assert log_loss(rows, [0, 2]) == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2)
    assert log_loss([[1.0, 0.0]], [1]) == pytest.approx(34.5, abs=0.1)
