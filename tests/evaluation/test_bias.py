from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from handful.evaluation.bias import Association, associations, benjamini_hochberg, log_odds_ratio
from handful.evaluation.mentions import Lexicon
from handful.evaluation.terms import Axis, Group
from handful.records import Example

GENDER = Lexicon(Axis("gender", (Group("female", ("she",)), Group("male", ("he",)))))


def texts(*cells: tuple[str, str, int]) -> list[Example]:
    """Texts of `(text, label, how many)`."""
    return [Example(text, label) for text, label, count in cells for _ in range(count)]


def measured(examples: Sequence[Example]) -> dict[tuple[str, str], Association]:
    found = associations(examples, [GENDER], ["good", "bad"])
    return {(entry.group, entry.label): entry for entry in found if entry.against == "other groups"}


def test_a_group_that_is_named_with_one_label_alone_stands_out_from_texts_that_name_none() -> None:
    planted = texts(("she came", "bad", 24), ("somebody came", "good", 24))
    found = associations(planted, [GENDER], ["good", "bad"])
    assert [(row.group, row.label, row.against, row.excludes_zero) for row in found] == [
        ("female", "good", "no group", True),
        ("female", "bad", "no group", True),
    ]
    bad = found[1]
    assert (bad.with_label, bad.without_label, bad.others_with_label, bad.others_without_label) == (24, 0, 0, 24)
    assert bad.low > 0
    alike = texts(*((text, label, 12) for text in ("she came", "somebody came") for label in ("good", "bad")))
    assert [row.low < 0 < row.high for row in associations(alike, [GENDER], ["good", "bad"])] == [True, True]


def test_log_odds_ratio_by_hand() -> None:
    ratio, error = log_odds_ratio(3, 0, 0, 3)
    assert ratio == pytest.approx(math.log(3.5 * 3.5 / (0.5 * 0.5)))
    assert error == pytest.approx(math.sqrt(2 / 3.5 + 2 / 0.5))
    assert log_odds_ratio(0, 3, 3, 0)[0] == pytest.approx(-ratio)


def test_labels_tied_to_a_group_stand_out() -> None:
    planted = texts(("she came", "good", 20), ("he came", "bad", 20), ("it came", "good", 7))
    found = measured(planted)
    entry = found["female", "good"]
    assert (entry.with_label, entry.without_label, entry.others_with_label, entry.others_without_label) == (
        20,
        0,
        0,
        20,
    )
    assert entry.log_odds_ratio == pytest.approx(math.log(41 * 41))
    half = 1.959964 * math.sqrt(2 / 20.5 + 2 / 0.5)
    assert (entry.low, entry.high) == pytest.approx((math.log(1681) - half, math.log(1681) + half))
    assert entry.low > 0
    assert all(row.excludes_zero and row.survives_adjustment for row in found.values())
    assert found["male", "good"].high < 0
    assert len(found) == 4


def test_balanced_labels_do_not() -> None:
    balanced = texts(("she came", "good", 10), ("he came", "good", 10), ("she left", "bad", 10), ("he left", "bad", 10))
    for entry in measured(balanced).values():
        assert entry.log_odds_ratio == 0
        assert entry.low < 0 < entry.high
        assert entry.p_value == entry.p_adjusted == 1
        assert not entry.excludes_zero
        assert not entry.survives_adjustment


def test_three_texts_of_each_are_too_few() -> None:
    assert not any(entry.excludes_zero for entry in measured(texts(("she", "good", 3), ("he", "bad", 3))).values())


def test_a_text_of_both_groups_is_compared_with_neither() -> None:
    found = measured(texts(("she", "good", 2), ("she and he", "good", 5), ("he", "bad", 3)))
    row = found["female", "good"]
    assert (row.with_label, row.without_label, row.others_with_label, row.others_without_label) == (7, 0, 0, 3)
    row = found["male", "good"]
    assert (row.with_label, row.without_label, row.others_with_label, row.others_without_label) == (5, 3, 2, 0)


@pytest.mark.parametrize(
    "examples",
    [
        [],
        texts(("it", "good", 3), ("it", "bad", 3)),
        texts(("she", "good", 3), ("she", "bad", 3)),
        texts(("she", "good", 3), ("he", "good", 3), ("it", "bad", 3)),
    ],
)
def test_no_comparison_without_two_sides(examples: list[Example]) -> None:
    assert measured(examples) == {}


def test_adjustment_by_hand() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert benjamini_hochberg([0.9, 0.8]) == pytest.approx([0.9, 0.9])
    assert benjamini_hochberg([]) == []


def test_one_of_many_comparisons_does_not_survive() -> None:
    # One axis with a moderate association among forty without any.
    words = [Axis(f"axis{n}", (Group("a", (f"a{n}",)), Group("b", (f"b{n}",)))) for n in range(41)]
    examples = texts(("a0", "good", 9), ("b0", "good", 2), ("a0", "bad", 2), ("b0", "bad", 9))
    for n in range(1, 41):
        examples += texts(*((f"{side}{n}", label, 5) for side in "ab" for label in ("good", "bad")))
    found = associations(examples, [Lexicon(axis) for axis in words], ["good", "bad"])
    clear = [entry for entry in found if entry.excludes_zero]
    assert len(found) == 328
    assert {entry.axis for entry in clear} == {"axis0"}
    assert not any(entry.survives_adjustment for entry in clear)
