from __future__ import annotations

import itertools
from collections import Counter
from xml.etree import ElementTree

import pytest

from handful.report.clouds import cloud_pair, word_cloud
from tests.payloads import payloads


def words_of(svg: str) -> list[str | None]:
    return [one.text for one in ElementTree.fromstring(svg).iter("text")]


def test_commoner_words_are_larger() -> None:
    svg = word_cloud({"film": 30, "story": 10, "actor": 2}, title="Words")
    sizes = {one.text: float(one.attrib["font-size"]) for one in ElementTree.fromstring(svg).iter("text")}
    assert sizes["film"] > sizes["story"] > sizes["actor"] >= 10


def test_the_order_of_counting_changes_nothing() -> None:
    counts = {f"word{index}": 1 + index % 7 for index in range(60)}
    assert word_cloud(counts, title="t") == word_cloud(dict(reversed(counts.items())), title="t")


def test_hostile_words_are_text() -> None:
    words = payloads(100)
    svg = word_cloud(dict.fromkeys(words, 2), title=words[0])
    root = ElementTree.fromstring(svg)
    assert {one.tag for one in root.iter()} == {"svg", "text"}
    assert 10 < len(words_of(svg)) <= 40
    assert all(len(word or "") <= 24 for word in words_of(svg))


@pytest.mark.parametrize("words", [["long" * 5 + str(i) for i in range(40)], [f"w{i}" for i in range(40)]])
def test_words_lie_within_the_drawing_and_apart(words: list[str]) -> None:
    svg = word_cloud({word: 1 + index for index, word in enumerate(words)}, title="t")
    boxes = []
    for one in ElementTree.fromstring(svg).iter("text"):
        x, y, size = (float(one.attrib[key]) for key in ("x", "y", "font-size"))
        boxes.append((x, y - 0.75 * size, x + float(one.attrib["textLength"]), y + 0.2 * size))
        assert x >= 0
        assert boxes[-1][1] >= -1
        assert boxes[-1][2] <= 381
        assert boxes[-1][3] <= 201
    assert len(boxes) > 12
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] + 1 or b[3] <= a[1] + 1


def test_no_words_are_no_error() -> None:
    pair = cloud_pair(Counter(), Counter({"film": 2, " ": 9, "gone": 0}), label="good")
    assert words_of(pair.figures[0].svg) == []
    assert words_of(pair.figures[1].svg) == ["film"]
    assert [figure.caption for figure in pair.figures] == ["good: real texts (no words)", "good: written texts"]


def test_the_table_has_the_commonest_words_first() -> None:
    pair = cloud_pair(Counter({"b": 1, "a": 1, "c": 1200}), Counter(), label="x")
    assert pair.figures[0].table.rows == (("c", "1,200"), ("a", "1"), ("b", "1"))
