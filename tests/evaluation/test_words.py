import math

import pytest

from handful.evaluation.words import content_counts, content_words, first_words, log_odds, words


def test_words_of_several_scripts() -> None:
    assert words("She said: DON'T, it\u2019s 7-ish!") == ["she", "said", "don't", "it's", "7", "ish"]
    assert words("Größe & Ça_va") == ["größe", "ça", "va"]
    assert words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert words("漢字だ ok") == ["漢", "字", "だ", "ok"]
    assert words(" ... ") == []


def test_first_words_are_a_beginning_of_the_text() -> None:
    text = "One, two; three!"
    assert [first_words(text, n) for n in range(5)] == ["", "One", "One, two", "One, two; three", "One, two; three"]
    assert words(first_words("İstanbul is big", 2)) == words("İstanbul is")


def test_content_words() -> None:
    assert content_words("The dog and I don't bark") == ["dog", "bark"]


def test_log_odds_by_hand() -> None:
    # Of 8 words 4 are x: a prior of 8 gives each word 4.
    found = log_odds({"x": 3, "y": 1}, {"x": 1, "y": 3}, prior_strength=8)
    expected = math.log(7 / 5) - math.log(5 / 7)
    z = expected / math.sqrt(1 / 7 + 1 / 5)
    assert [(row.word, row.count_a, row.count_b) for row in found] == [("x", 3, 1), ("y", 1, 3)]
    assert [row.log_odds for row in found] == pytest.approx([expected, -expected])
    assert [row.z for row in found] == pytest.approx([z, -z])
    assert z == pytest.approx(1.1492, abs=1e-4)


def test_log_odds_do_not_take_a_rare_word_for_a_clear_one() -> None:
    common = log_odds({"x": 60, "y": 40, "once": 1}, {"x": 30, "y": 70})
    assert [row.word for row in common] == ["x", "once", "y"]
    assert common[0].z > 1.96 > common[1].z
    shrunk = log_odds({"x": 60, "y": 40}, {"x": 30, "y": 70}, prior_strength=1000)
    assert 0 < shrunk[0].z < log_odds({"x": 60, "y": 40}, {"x": 30, "y": 70})[0].z


def test_log_odds_at_the_edges() -> None:
    assert log_odds({}, {}) == []
    assert [(row.word, row.z) for row in log_odds({"x": 3}, {"x": 1})] == [("x", 0.0)]
    same = log_odds({"b": 2, "a": 2}, {"a": 1, "b": 1})
    assert [row.word for row in same] == ["a", "b"]
    assert [row.z for row in same] == pytest.approx([0, 0])
    assert [row.word for row in log_odds({"x": 1, "y": 1}, {})] == ["x", "y"]
    with pytest.raises(ValueError, match="prior_strength"):
        log_odds({"x": 1}, {}, prior_strength=0)


def test_contractions_leave_no_letters_behind() -> None:
    assert content_counts(["the film was lovely", "a lovely story 's"]) == {"film": 1, "lovely": 2, "story": 1}
