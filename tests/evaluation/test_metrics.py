import numpy as np
import pytest

from handful.evaluation.metrics import macro_f1, score_predictions, wilson_interval


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
