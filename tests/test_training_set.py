from collections import defaultdict

import pytest

from handful.records import Candidate, Decision, Verdict
from handful.training_set import calibration_pool, real_rows, training_rows
from tests.toys import small_recipe, two_label_task


def case(*rows: tuple[str, Decision, str]) -> tuple[list[Candidate], list[Verdict]]:
    """(intended label, decision, label) per candidate; candidate i has text "text i"."""
    candidates = [Candidate(f"0-0-{i}", f"text {i}", row[0], 0, "p") for i, row in enumerate(rows)]
    verdicts = [Verdict(f"0-0-{i}", decision, "r", label, (0.75, 0.25)) for i, (_, decision, label) in enumerate(rows)]
    return candidates, verdicts


KEPT: tuple[str, Decision, str] = ("good", "kept", "good")


def test_real_examples_come_first_with_their_weight() -> None:
    rows = real_rows(two_label_task(), small_recipe("train.real_weight=3"))
    assert [row.text for row in rows] == [e.text for e in two_label_task().examples]
    assert {(row.source, row.weight) for row in rows} == {("real", 3.0)}


def test_rejected_are_out_relabelled_are_in_under_the_new_label() -> None:
    candidates, verdicts = case(("good", "kept", "good"), ("good", "rejected", "good"), ("good", "relabelled", "bad"))
    rows = training_rows(two_label_task(), small_recipe(), candidates, verdicts)
    synthetic = [(row.text, row.label) for row in rows if row.source == "synthetic"]
    assert synthetic == [("text 0", "good"), ("text 2", "bad")]
    assert [row.source for row in rows] == ["real"] * 8 + ["synthetic"] * 2


def test_the_first_n_of_a_label_are_taken() -> None:
    candidates, verdicts = case(*[KEPT] * 9)
    rows = training_rows(two_label_task(), small_recipe(), candidates, verdicts)
    assert [row.text for row in rows if row.source == "synthetic"] == [f"text {i}" for i in range(5)]
    for most, n_taken in ((2, 2), (7, 5)):
        rows = training_rows(two_label_task(), small_recipe(), candidates, verdicts, most)
        assert sum(row.source == "synthetic" for row in rows) == n_taken


def test_no_label_is_first_in_what_is_taken() -> None:
    # Written label by label, in two rounds; every text of even number is moved to the other label.
    places = [(turn, label, index) for turn in (0, 1) for label in (0, 1) for index in (2, 10, 3)]
    names = two_label_task().label_names
    candidates, verdicts = [], []
    for turn, label, index in places:
        at, moved = f"{turn}-{label}-{index}", index % 2 == 0
        candidates.append(Candidate(at, at, names[label], 0, "p"))
        own = names[1 - label if moved else label]
        verdicts.append(Verdict(at, "relabelled" if moved else "kept", "r", own, (0.75, 0.25)))
    rows = training_rows(two_label_task(), small_recipe(), candidates, verdicts, 4)
    taken = {name: [row.text for row in rows if row.source == "synthetic" and row.label == name] for name in names}
    assert taken == {names[0]: ["0-1-2", "0-0-3", "0-1-10", "1-1-2"], names[1]: ["0-0-2", "0-1-3", "0-0-10", "1-0-2"]}


@pytest.mark.parametrize("n_good", [0, 1, 5])
def test_labels_weigh_the_same(n_good: int) -> None:
    candidates, verdicts = case(*[KEPT] * n_good, ("bad", "kept", "bad"))
    rows = training_rows(two_label_task(), small_recipe(), candidates, verdicts)
    totals: dict[str, float] = defaultdict(float)
    for row in rows:
        totals[row.label] += row.weight
    assert totals["good"] == pytest.approx(totals["bad"])
    raw = 8 * 4.0 + n_good + 1
    assert sum(totals.values()) == pytest.approx(raw)
    real, synthetic = (
        next(r.weight for r in rows if r.source == s and r.label == "bad") for s in ("real", "synthetic")
    )
    assert real == pytest.approx(4 * synthetic)


def test_soft_targets_only_if_asked() -> None:
    candidates, verdicts = case(("good", "kept", "good"))
    hard = training_rows(two_label_task(), small_recipe("train.soft_targets=false"), candidates, verdicts)
    soft = training_rows(two_label_task(), small_recipe("train.soft_targets=true"), candidates, verdicts)
    assert {row.label_probabilities for row in hard} == {()}
    for ablation in ("none", "random"):  # does not hear the judge
        recipe = small_recipe("train.soft_targets=true", f"filter.method={ablation}")
        assert training_rows(two_label_task(), recipe, candidates, verdicts) == hard
    assert [row.label_probabilities for row in soft] == [()] * 8 + [(0.75, 0.25)]


def test_the_calibration_pool_is_an_even_sample_of_what_was_judged() -> None:
    candidates = [Candidate(f"0-0-{i}", f"text {i}", "a", i, "p") for i in range(500)]
    judged = [Verdict(c.id, "kept", "agrees", "a", (1.0,), (-0.1,)) for c in candidates[:400]]
    screened = [Verdict(c.id, "rejected", "too_short", "a") for c in candidates[400:]]
    pool = calibration_pool(candidates, judged + screened)
    assert pool == [f"text {i}" for i in range(0, 400, 3)]
    assert calibration_pool(candidates[:1], judged[:1]) == ["text 0"]
    assert calibration_pool([], []) == []
