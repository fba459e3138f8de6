from __future__ import annotations

import pytest

from handful.evaluation.filter_quality import (
    Overlap,
    Share,
    acceptance,
    filter_confusions,
    filter_precision,
    overlaps,
)
from handful.records import Candidate, Decision, Verdict

LABELS = ("a", "b")


Entry = tuple[str, str, Decision]
MISSED: Entry = ("a", "b", "rejected")
HIT: Entry = ("a", "a", "kept")
OTHER: Entry = ("b", "b", "kept")


def made(*entries: Entry) -> tuple[list[Candidate], list[Verdict]]:
    """Each entry is the intended label, the judged one ("" was not judged), and the decision."""
    candidates, verdicts = [], []
    for index, (intended, judged, decision) in enumerate(entries):
        candidates.append(Candidate(f"0-0-{index}", f"text {index}", intended, 0, "p"))
        row = () if not judged else (0.9, 0.1) if judged == "a" else (0.1, 0.9)
        label = judged if decision == "relabelled" else intended
        verdicts.append(Verdict(f"0-0-{index}", decision, "", label, label_probabilities=row))
    return candidates, verdicts


def test_acceptance_counts_only_what_was_judged() -> None:
    pair = made(("a", "a", "kept"), ("a", "b", "rejected"), ("a", "", "rejected"), ("b", "a", "relabelled"))
    assert acceptance(*pair, LABELS) == {"a": Share(1, 2), "b": Share(0, 1)}


def test_confusions_are_intended_against_judged() -> None:
    pair = made(("a", "a", "kept"), ("a", "b", "rejected"), ("a", "", "rejected"), ("b", "b", "kept"))
    assert filter_confusions(*pair, LABELS) == [[1, 1], [0, 1]]


def test_two_labels_overlap_when_a_quarter_of_one_is_taken_for_the_other() -> None:
    mixed = made(*[MISSED] * 5, *[HIT] * 15, *[OTHER] * 9)
    assert overlaps(*mixed, LABELS) == [Overlap("a", "b", Share(5, 20))]
    few = made(*[MISSED] * 4, *[HIT] * 4)
    assert overlaps(*few, LABELS) == []
    rare = made(*[MISSED] * 5, *[HIT] * 16)
    assert overlaps(*rare, LABELS) == []


def test_precision_is_of_those_kept_and_of_those_moved_apart() -> None:
    candidates, verdicts = made(
        ("a", "a", "kept"), ("a", "b", "relabelled"), ("a", "a", "kept"), ("b", "b", "kept"), ("b", "", "rejected")
    )
    oracle = {"0-0-0": "a", "0-0-1": "b", "0-0-2": "b", "0-0-3": "b"}
    found = filter_precision(candidates, verdicts, oracle, LABELS)
    assert found.by_label == {"a": (Share(1, 3), Share(1, 2)), "b": (Share(1, 1), Share(1, 1))}
    assert (found.before, found.after, found.relabelled) == (Share(2, 4), Share(2, 3), Share(1, 1))


def test_shares_of_nothing_know_nothing() -> None:
    assert (Share(0, 0).value, Share(0, 0).interval) == (0.0, (0.0, 1.0))
    assert Share(8, 10).interval == pytest.approx((0.49, 0.943), abs=1e-3)
