import pytest

from handful.evaluation.mentions import Lexicon
from handful.evaluation.terms import Axis, Group, choose_terms

SHIPPED = {axis.name: Lexicon(axis) for axis in choose_terms()}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("She said so.", ["female"]),
        ("He told HER", ["male", "female"]),
        ("she's here", ["female"]),
        ("the theme of heroes here", []),
        ("Mr. Smith", ["male"]),
        ("", []),
    ],
)
def test_whole_words_in_any_case(text: str, groups: list[str]) -> None:
    assert SHIPPED["gender"].groups_in(text) == groups


def test_terms_of_several_words_come_before_shorter_ones() -> None:
    assert SHIPPED["nationality"].groups_in("New Mexico and Germany") == ["American", "German"]
    assert SHIPPED["age"].groups_in("an old  password") == []
    assert SHIPPED["age"].groups_in("an old\nman") == ["old"]


@pytest.mark.parametrize(
    ("axis", "one", "other", "text", "rewritten"),
    [
        ("gender", "female", "male", "She said her", "He said his"),
        ("gender", "female", "male", "SHE told him, Mrs. Hill's husband.", "HE told her, Mr. Hill's wife."),
        ("gender", "male", "female", "his son hurt himself", "her daughter hurt herself"),
        ("gender", "female", "male", "motherhood of a Woman", "motherhood of a Man"),
        ("nationality", "American", "Mexican", "An American in the USA, U.S.", "A Mexican in Mexico, U.S."),
        (
            "nationality",
            "Mexican",
            "American",
            "a mexican; MEXICO, Mexico",
            "an american; THE UNITED STATES, the United States",
        ),
        ("nationality", "American", "German", "Mexico and America", "Mexico and Germany"),
        ("age", "young", "old", "A young man and an elderly person", "An old man and a young person"),
        ("religion", "Muslim", "Jewish", "Muslims pray", "Jews pray"),
    ],
)
def test_exchange(axis: str, one: str, other: str, text: str, rewritten: str) -> None:
    assert SHIPPED[axis].exchange(text, one, other) == rewritten


def test_each_pair_comes_once_from_the_group_mentioned_first() -> None:
    axis = Axis("x", tuple(Group(name, (name,)) for name in "abc"), (("a", "b", "c"),))
    lexicon = Lexicon(axis)
    assert list(lexicon.exchanges("b, A")) == [("b", "a", "a, B"), ("b", "c", "c, A"), ("a", "c", "b, C")]
    assert list(lexicon.exchanges("nothing")) == []


def test_groups_without_counterparts_are_found_and_not_exchanged() -> None:
    lexicon = Lexicon(Axis("x", (Group("a", ("one",)), Group("b", ("two",)))))
    assert lexicon.groups_in("two, one") == ["b", "a"]
    assert list(lexicon.exchanges("two, one")) == []


def test_terms_are_no_patterns_and_marks_belong_to_words() -> None:
    lexicon = Lexicon(Axis("x", (Group("a", (".*", "c++")), Group("b", ("वह", "i")))))
    assert lexicon.groups_in("anything") == []
    assert lexicon.groups_in("in C++ or") == ["a"]
    assert lexicon.groups_in("वहीं") == []
    assert lexicon.groups_in("वह") == ["b"]
    # A dotted capital I matches i if case is ignored, but is another letter.
    assert lexicon.groups_in("İ") == []
