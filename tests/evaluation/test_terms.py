from __future__ import annotations

from pathlib import Path

import pytest

from handful.errors import DataError
from handful.evaluation.terms import SHIPPED_TERMS, Axis, Group, choose_terms, load_terms, term_key
from handful.limits import MAX_TERMS

OWN = """
dialect:
  groups:
    north: [aye, wee bairn]
    south: [yes]
  counterparts:
    - [lass, girl]
    - [lasses, girls]
"""


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "own.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_the_shipped_list_is_sound_and_lies_in_the_package() -> None:
    axes = {axis.name: axis for axis in load_terms(SHIPPED_TERMS)}
    assert list(axes) == ["gender", "nationality", "religion", "age"]
    assert [group.name for group in axes["gender"].groups] == ["female", "male"]
    for axis in axes.values():
        assert axis.counterparts
        assert all(len(row) == len(axis.groups) for row in axis.counterparts)
    import handful

    assert Path(handful.__file__).parent in SHIPPED_TERMS.parents


def test_counterparts_are_terms_of_their_group(tmp_path: Path) -> None:
    assert load_terms(write(tmp_path, OWN)) == (
        Axis(
            "dialect",
            (Group("north", ("aye", "wee bairn", "lass", "lasses")), Group("south", ("yes", "girl", "girls"))),
            (("lass", "girl"), ("lasses", "girls")),
        ),
    )


def test_values_are_texts_whatever_they_look_like(tmp_path: Path) -> None:
    (axis,) = load_terms(write(tmp_path, "a: {groups: {1: [yes, no], 2.0: [null, 1e3]}}"))
    assert axis.groups == (Group("1", ("yes", "no")), Group("2.0", ("null", "1e3")))


def test_own_axes_join_the_shipped_ones_or_take_their_place(tmp_path: Path) -> None:
    own = write(tmp_path, OWN + "age: {groups: {a: [x], b: [y]}}\n")
    together = {axis.name: axis for axis in choose_terms(own)}
    assert list(together) == ["gender", "nationality", "religion", "age", "dialect"]
    assert together["age"].groups == (Group("a", ("x",)), Group("b", ("y",)))
    assert [axis.name for axis in choose_terms(own, only_own=True)] == ["dialect", "age"]
    assert [axis.name for axis in choose_terms()] == ["gender", "nationality", "religion", "age"]


def test_spellings_of_a_term() -> None:
    assert term_key("The  USA") == term_key("the usa")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty. docs/audit.md says"),
        ("- a\n", ":1: the list of terms has to be a mapping of axes by name"),
        ("{}", "the list of terms has to be a mapping"),
        ("gender: [she, he]", "the axis 'gender' has to be a mapping with the keys 'groups', 'counterparts'"),
        ("gender:\n  gruops: {}\n", ":2: the axis 'gender' has an unknown key 'gruops'. Did you mean 'groups'?"),
        ("gender: {counterparts: []}", "the axis 'gender' has no key 'groups'"),
        ("g: {groups: [she, he]}", "groups of the axis 'g' has to be a mapping of groups by name"),
        ("g: {groups: {a: [she]}}", "the axis 'g' has 1 group. Give 2 to 50"),
        ("g: {groups: {a: she, b: [he]}}", "the group 'a' has to be a list of terms"),
        ("g: {groups: {a: , b: [he]}}", "the group 'a' has to be a list of terms"),
        ("g:\n  groups:\n    a: []\n    b: [he]\n", ":2: the group 'a' has no terms. List its terms, or leave it out."),
        ("g: {groups: {a: [[she]], b: [he]}}", "a term is a list, not a text"),
        ("g: {groups: {a: [''], b: [he]}}", "the term is empty"),
        ('g: {groups: {a: ["s\\nhe"], b: [he]}}', "holds the control character U+000A"),
        (f"g: {{groups: {{a: [{'x' * 101}], b: [he]}}}}", "has 101 characters, more than 100"),
        ("g: {groups: {a: [SHE], b: [she]}}", "the term 'she' is in two groups, 'a' and 'b'"),
        ("g: {groups: {a: [she], b: [he]}, counterparts: she}", "counterparts has to be a list of rows"),
        ("g: {groups: {a: [she], b: [he]}, counterparts: [[her]]}", "a row of counterparts has 1 term for 2 groups"),
        ("g: {groups: {a: &x [she], b: *x}}", "anchors and aliases (& and *) are not supported"),
        ("g: {groups: {a: [she], a: [he]}}", "the key 'a' stands twice"),
        ("g: {groups: {a: [she, b: [he]}}", "this is not valid YAML"),
        (b"\xff\xfe\x00", "is in UTF-16"),
        ("#" * 1_000_001, "the file is larger than 1,000,000 bytes. docs/audit.md says"),
        (
            f"g: {{groups: {{a: [{', '.join(f'a{n}' for n in range(MAX_TERMS))}], b: [b]}}}}",
            "5,001 terms, more than 5,000",
        ),
        (f"g: {{groups: {{{', '.join(f'g{n}: [t{n}]' for n in range(51))}}}}}", "the axis 'g' has 51 groups"),
        ("[" * 5_000, ""),
    ],
)
def test_a_list_that_is_not_usable_names_file_and_fault(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        load_terms(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        load_terms(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="this is a folder"):
        load_terms(tmp_path)
