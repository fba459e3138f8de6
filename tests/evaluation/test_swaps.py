from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from handful.evaluation.mentions import Lexicon
from handful.evaluation.metrics import wilson_interval
from handful.evaluation.swaps import MOST_SHOWN, Flip, Swap, choose_swaps, measure_swaps, plan_swaps, sample_swaps
from handful.evaluation.terms import Axis, Group
from handful.evaluation.words import words

GENDER = Lexicon(Axis("gender", (Group("female", ()), Group("male", ())), (("she", "he"), ("her", "his"))))
PLACE = Lexicon(
    Axis("place", tuple(Group(name, (name,)) for name in ("rome", "oslo", "lima")), (("rome", "oslo", "lima"),))
)
LABELS = ("good", "bad")


def looks_at_gender(texts: Sequence[str]) -> NDArray[np.float64]:
    """Sure of good where a text says she, of bad where it says he."""
    good = [0.9 if "she" in words(text) else 0.2 if "he" in words(text) else 0.5 for text in texts]
    return np.array([[share, 1 - share] for share in good])


def does_not_look(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[0.7, 0.3]] * len(texts))


def test_texts_are_rewritten_once_for_every_pair() -> None:
    swaps = plan_swaps(["She said her", "nothing", "She said her", "from rome"], [GENDER, PLACE])
    assert swaps == [
        Swap("gender", "female", "male", "She said her", "He said his"),
        Swap("place", "rome", "oslo", "from rome", "from oslo"),
        Swap("place", "rome", "lima", "from rome", "from lima"),
    ]


@pytest.mark.parametrize(
    ("n_first", "n_second", "chosen"),
    [(10, 300, "first"), (9, 10, "second"), (9, 8, "first"), (3, 4, "second"), (0, 0, "first")],
)
def test_swaps_are_made_in_the_first_texts_with_enough_of_them(n_first: int, n_second: int, chosen: str) -> None:
    sources = {"first": [f"she {n}" for n in range(n_first)], "second": [f"he {n}" for n in range(n_second)]}
    planned = choose_swaps(sources, [GENDER], most=9, seed=0)
    assert planned.swapped_in == chosen
    found = {"first": n_first, "second": n_second}[chosen]
    assert len(planned.swaps) == min(9, found)
    assert planned.left_out == max(0, found - 9)
    assert {swap.from_group for swap in planned.swaps} <= {"female" if chosen == "first" else "male"}


def test_a_classifier_that_looks_at_gender_flips() -> None:
    swaps = plan_swaps(["she sings", "she and rome", "he sings", "her song"], [GENDER, PLACE])
    report = measure_swaps(swaps, looks_at_gender, LABELS)
    assert report.texts == 4
    rows = {(rate.axis, rate.from_group, rate.to_group): rate for rate in report.rates}
    assert list(rows) == [
        ("gender", None, None),
        ("gender", "female", "male"),
        ("gender", "male", "female"),
        ("place", None, None),
        ("place", "rome", "oslo"),
        ("place", "rome", "lima"),
    ]
    total = rows["gender", None, None]
    assert (total.swaps, total.flips, total.flip_rate) == (4, 3, 0.75)
    assert (total.low, total.high) == wilson_interval(3, 4)
    assert total.mean_distance == pytest.approx(0.7 * 3 / 4)
    assert rows["gender", "female", "male"].flips == 2
    assert rows["gender", "male", "female"].flip_rate == 1
    assert rows["place", None, None].flips == 0
    assert report.examples[0] == Flip(
        "gender", "female", "male", "she sings", "he sings", "good", "bad", report.examples[0].distance
    )
    assert [flip.distance for flip in report.examples] == pytest.approx([0.7] * 3)


def test_a_classifier_that_does_not_look_never_flips() -> None:
    report = measure_swaps(plan_swaps(["she sings", "he sings"], [GENDER]), does_not_look, LABELS)
    assert [(rate.flips, rate.mean_distance) for rate in report.rates] == [(0, 0)] * 3
    assert report.examples == ()


def test_every_text_is_classified_once() -> None:
    asked: list[str] = []

    def listens(texts: Sequence[str]) -> NDArray[np.float64]:
        asked.extend(texts)
        return does_not_look(texts)

    measure_swaps(plan_swaps(["she sings", "he sings", "rome"], [GENDER, PLACE]), listens, LABELS)
    assert asked == ["she sings", "he sings", "rome", "oslo", "lima"]


def test_the_largest_changes_are_shown() -> None:
    def by_length(texts: Sequence[str]) -> NDArray[np.float64]:
        shares = [(0.5 + len(text) / 200) if "she" in words(text) else 0.4 for text in texts]
        return np.array([[share, 1 - share] for share in shares])

    report = measure_swaps(plan_swaps([f"she {'x' * n}" for n in range(1, 31)], [GENDER]), by_length, LABELS)
    assert len(report.examples) == MOST_SHOWN
    assert [len(flip.text) for flip in report.examples] == list(range(34, 24, -1))


def test_a_sample_is_drawn_by_the_seed_axis_by_axis() -> None:
    swaps = plan_swaps([f"she {n}" for n in range(20)] + ["rome"], [GENDER, PLACE])
    drawn = sample_swaps(swaps, most=5, seed=1)
    assert [swap.axis for swap in drawn] == ["gender"] * 5 + ["place"] * 2
    assert drawn == [swap for swap in swaps if swap in drawn]
    assert drawn == sample_swaps(swaps, most=5, seed=1)
    assert any(drawn != sample_swaps(swaps, most=5, seed=seed) for seed in range(2, 6))
    assert sample_swaps(swaps, most=100, seed=1) == swaps


def test_probabilities_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\), not \(2, 3\)"):
        measure_swaps(plan_swaps(["she"], [GENDER]), does_not_look, ("a", "b", "c"))
