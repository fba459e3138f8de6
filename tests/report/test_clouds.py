from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

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
    assert 10 < len(words_of(svg)) <= 45
    assert all(len(word or "") <= 24 for word in words_of(svg))


def test_words_lie_within_the_drawing() -> None:
    svg = word_cloud({f"{'long' * 5}{index}": 5 for index in range(40)}, title="t")
    for one in ElementTree.fromstring(svg).iter("text"):
        x, y = float(one.attrib["x"]), float(one.attrib["y"])
        assert 0 <= x
        assert x + float(one.attrib["textLength"]) <= 385
        assert 0 < y <= 215


def test_no_words_are_no_error() -> None:
    pair = cloud_pair(Counter(), Counter({"film": 2, " ": 9, "gone": 0}), label="good")
    assert words_of(pair.figures[0].svg) == []
    assert words_of(pair.figures[1].svg) == ["film"]
    assert [figure.caption for figure in pair.figures] == ["good: real texts (no words)", "good: written texts"]


def test_the_table_has_the_commonest_words_first() -> None:
    pair = cloud_pair(Counter({"b": 1, "a": 1, "c": 1200}), Counter(), label="x")
    assert pair.figures[0].table.rows == (("c", "1,200"), ("a", "1"), ("b", "1"))
