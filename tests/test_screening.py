from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handful.recipe import FilterRecipe
from handful.records import Candidate, Example
from handful.screening import screen_candidates, words

EXAMPLES = [Example("the quick brown fox jumps over the lazy dog today", "a"), Example("Short one here", "b")]


def screened(*texts: str, recipe: FilterRecipe | None = None, finished: bool = True) -> list[str]:
    candidates = [Candidate(str(i), text, "a", 0, "p", finished=finished) for i, text in enumerate(texts)]
    reasons = screen_candidates(candidates, EXAMPLES, recipe or FilterRecipe())
    assert set(reasons) <= {c.id for c in candidates}
    return [reasons.get(c.id, "") for c in candidates]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a perfectly fine new sentence", ""),
        ("", "empty"),
        (" \n\t", "empty"),
        ("?!... --- ___", "empty"),
        ("nice Label: good", "field_marker"),
        ("TEXT: another", "field_marker"),
        ("see the labels: a, b", "field_marker"),
        ("the context: a fine film", ""),
        ("word", "too_short"),
        ("it's", "too_short"),
        ("it's fine", ""),
        (" ".join(f"w{i}" for i in range(20)), ""),
        (" ".join(f"w{i}" for i in range(21)), "too_long"),
        ("Short, ONE here!", "copy_of_example"),
        ("and so the quick brown fox jumps over the lazy cat", "copy_of_example"),
        ("and so quick brown fox jumps over the small cat", ""),
    ],
)
def test_reasons(text: str, reason: str) -> None:
    assert screened(text) == [reason]


def test_unfinished_texts_are_rejected_after_empty_ones() -> None:
    assert screened("a fine sentence", "", finished=False) == ["unfinished", "empty"]


def test_repeats_are_duplicates_of_the_earlier_one() -> None:
    assert screened("one new text here", "One new text, here!", "another new text") == ["", "duplicate", ""]


def test_a_rejected_text_does_not_make_later_ones_duplicates() -> None:
    assert screened("Label: x y", "x y label") == ["field_marker", ""]


def jaccard(a: str, b: str) -> float:
    left, right = ({tuple(t.split()[i : i + 3]) for i in range(len(t.split()) - 2)} for t in (a, b))
    return len(left & right) / len(left | right)


def test_near_duplicates_by_the_threshold() -> None:
    base = " ".join(f"w{i}" for i in range(18))
    one_end = " ".join([*(f"w{i}" for i in range(17)), "x"])
    middle = " ".join([*(f"w{i}" for i in range(8)), "x", *(f"w{i}" for i in range(9, 18))])
    assert jaccard(base, one_end) == pytest.approx(15 / 17)
    assert jaccard(base, middle) == pytest.approx(13 / 19)
    for other in (one_end, middle):
        similarity = jaccard(base, other)
        for threshold in (0.3, 0.5, 0.6, 0.69, 0.8, 0.9):
            expected = "near_duplicate" if similarity >= threshold else ""
            assert screened(base, other, recipe=FilterRecipe(near_duplicate=threshold)) == ["", expected]
    left, right = (" ".join([*(f"w{i}" for i in range(10)), *(f"{end}{i}" for i in range(4))]) for end in "xy")
    assert jaccard(left, right) == 0.5
    assert screened(left, right, recipe=FilterRecipe(near_duplicate=0.5)) == ["", "near_duplicate"]
    assert screened(base, one_end, recipe=FilterRecipe(near_duplicate=1.0)) == ["", ""]
    assert screened(base, base, recipe=FilterRecipe(near_duplicate=1.0)) == ["", "duplicate"]


def test_without_near_duplicates_no_index_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handful.screening._sketch", lambda shingles: pytest.fail("sketched"))
    base = "one two three four five six seven eight nine ten"
    texts = (base, f"{base} eleven", base, "Short, one here!")
    assert screened(*texts, recipe=FilterRecipe(near_duplicate=1.0)) == ["", "", "duplicate", "copy_of_example"]


def test_near_copies_of_examples_are_near_duplicates() -> None:
    assert screened("quick brown fox jumps over the lazy dog", recipe=FilterRecipe(near_duplicate=0.5)) != [""]


def test_limits_come_from_the_recipe() -> None:
    assert screened("word", recipe=FilterRecipe(min_words=1)) == [""]
    assert screened("three words here", recipe=FilterRecipe(min_words=4)) == ["too_short"]
    assert screened("a b c d e f g h i j k", recipe=FilterRecipe(max_length_ratio=1.0)) == ["too_long"]


def test_one_word_is_enough_where_a_real_example_has_no_more() -> None:
    candidates = [Candidate(str(i), text, "a", 0, "p") for i, text in enumerate(("Hello", "?", "Hey there"))]
    greetings = [Example("hi", "a"), Example("see you", "b")]
    assert screen_candidates(candidates, greetings, FilterRecipe()) == {"1": "empty"}
    assert screen_candidates(candidates, EXAMPLES, FilterRecipe()) == {"0": "too_short", "1": "empty"}
    strict = FilterRecipe(min_words=3)
    assert screen_candidates(candidates, greetings, strict) == {"0": "too_short", "1": "empty", "2": "too_short"}


def screened_with(reals: list[str], texts: list[str], **settings: Any) -> list[str]:
    candidates = [Candidate(str(i), text, "a", 0, "p") for i, text in enumerate(texts)]
    examples = [Example(real, "a") for real in reals]
    reasons = screen_candidates(candidates, examples, FilterRecipe(**settings))
    return [reasons.get(candidate.id, "") for candidate in candidates]


def test_no_word_is_needed_where_a_real_example_has_none() -> None:
    cheers = ["👍👍", "😡 😡"]
    texts = ["🎉", "👍👍", " 👍👍\n", "😡  😡", "🎉", "🎉 🎉", "", " \n", "👍 well done", "fine", "?!"]
    reasons = ["", *["copy_of_example"] * 3, "duplicate", "", "empty", "empty", "", "", ""]
    assert screened_with(cheers, texts) == reasons
    assert screened_with([*cheers, "a long text of many words"], texts) == reasons
    assert screened_with(cheers, texts, min_words=1) == reasons
    assert screened_with(cheers, ["🎉", "fine", "fine text"], min_words=3) == ["empty", "too_short", "too_short"]
    assert screened_with(["fine", "so it is"], ["🎉", "good"]) == ["empty", ""]


def test_near_duplicates_without_words() -> None:
    many = "🎉 👍 😀 🎈 🍰 🎁 🌟 💐 🥳 ✨"
    texts = [many, f"{many} 🔥", "🔥 💧 🌍 💨"]
    assert screened_with(["👍👍"], texts) == ["", "near_duplicate", ""]
    assert screened_with(["👍👍"], texts, near_duplicate=1.0) == ["", "", ""]


def test_scripts_without_spaces_are_counted_by_characters() -> None:
    assert words("今天天气") == ["今", "天", "天", "气"]
    assert words("\uff21\uff22\uff23 \ufb01ne Straße") == ["abc", "fine", "strasse"]
    assert words("한국 ひらカタ ที่นี่ मेरा चाल") == ["한국", "ひ", "ら", "カ", "タ", "ที่", "นี่", "मेरा", "चाल"]
    assert screened("今天天气很好", "今天天气很好。", "今天", "天") == ["", "duplicate", "", "too_short"]


@pytest.mark.parametrize(
    ("real", "text", "copied"),
    [
        ("주문한 상품이 아직 도착하지 않았어요", "신발은 왔는데 양말이 아직 도착하지 않았어요", False),
        ("我想取消我的订单 谢谢你们的帮助", "你好 我想取消我的订单 因为地址写错了", False),
        ("मुझे मेरा पैसा वापस चाहिए", "सामान टूटा हुआ था इसलिए मुझे मेरा पैसा वापस दिलाएं", False),
        ("我想取消我的订单因为收货地址写错了请你们帮帮我", "你好我想取消我的订单因为收货地址写错了请你们再说", True),
        ("एक दो तीन चार पाँच छह सात आठ", "और एक दो तीन चार पाँच छह सात आठ भी", True),
    ],
)
def test_a_copy_is_as_long_in_every_script(real: str, text: str, copied: bool) -> None:
    reasons = screen_candidates([Candidate("0", text, "a", 0, "p")], [Example(real, "a")], FilterRecipe())
    assert reasons == ({"0": "copy_of_example"} if copied else {})


def test_words_that_differ_by_a_mark_are_two() -> None:
    assert screened("उसकी चाल देखो", "उसकी चील देखो") == ["", ""]


def test_chinese_near_duplicates() -> None:
    base = "我觉得这部电影真的非常好看值得推荐"
    assert screened(base, base + "吧") == ["", "near_duplicate"]
    assert screened(base, "他昨天买了一台新的电脑放在家里") == ["", ""]


@pytest.mark.parametrize("text", ["สวัสดีครับ ทุกคน", "नमस्ते दुनिया", "ภาษาไทย ดี", "שלום עולם", "Привет, мир"])
def test_other_scripts_are_words(text: str) -> None:
    assert screened(text) == [""]


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=()), max_size=40), max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_unicode_gets_a_stable_answer(texts: list[str]) -> None:
    reasons = screened(*texts)
    assert screened(*texts) == reasons
    # Earlier candidates win: what comes later changes nothing.
    assert screened(*texts[: len(texts) // 2]) == reasons[: len(texts) // 2]
    repeats = {"copy_of_example", "duplicate", "near_duplicate"}
    assert set(reasons) <= {"", "empty", "field_marker", "broken", "too_short", "too_long", *repeats}


@given(st.permutations([f"text number {i} says {i * 7} things" for i in range(6)] * 2))
@settings(max_examples=20, deadline=None)
def test_the_order_of_copies_does_not_matter(texts: list[str]) -> None:
    kept = {text for text, reason in zip(texts, screened(*texts), strict=True) if not reason}
    assert kept == set(texts)


def screened_beside(real: list[str], *texts: str) -> list[str]:
    candidates = [Candidate(str(i), text, "a", 0, "p") for i, text in enumerate(texts)]
    reasons = screen_candidates(candidates, [Example(text, "a") for text in real], FilterRecipe())
    return [reasons.get(c.id, "") for c in candidates]


def test_what_several_examples_share_is_no_copy() -> None:
    """All that imitates a form, a greeting or a signature was rejected as copied from it."""
    opening = "Dear support team, I am writing to you today because"
    real = [f"{opening} my parcel is late", f"{opening} the invoice shows the wrong name on every page of it"]
    texts = [f"{opening} I cannot log in", "so the invoice shows the wrong name on every page"]
    assert screened_beside(real, *texts) == ["", "copy_of_example"]
    assert screened_beside(real[:1], texts[0]) == ["copy_of_example"]


def test_words_of_the_layout_may_stand_where_real_texts_have_them() -> None:
    assert screened_beside(["Label: size M, cotton"], "Label: size L, wool", "Text: a b") == ["", "field_marker"]


def test_what_is_broken_beyond_reading_is_rejected() -> None:
    """Bytes that are no character: of scripts whose characters are several tokens the model writes many."""
    texts = ["\u80a1\u5e02\ufffd\ufffd\u4eca\u5929\u4e0b\u8dcc", "What is the story of Kodiak Eskim\ufffdi ?"]
    assert screened(*texts) == ["broken", ""]


def test_what_fills_the_slot_of_a_form_tells_its_texts_apart() -> None:
    """Three words in a row of a form that is longer than its slot are most of what two such texts have."""
    form = "the sentiment of the following word is"
    examples = [Example(f"{form} {word}", label) for word, label in (("happy", "a"), ("joy", "a"), ("sad", "b"))]
    texts = [f"{form} awful", f"{form} grim", f"{form} grim!", f"{form} awful awful awful", f"{form} sad"]
    reasons = screen_candidates([Candidate(t, t, "a", 0, "p") for t in texts], examples, FilterRecipe())
    assert [reasons.get(text, "") for text in texts] == ["", "", "duplicate", "", "copy_of_example"]


def test_what_a_form_shares_with_one_label_alone_tells_its_texts_apart_too() -> None:
    places = {"on": ("kitchen", "bedroom", "garage"), "off": ("hall", "bathroom", "attic")}
    real = [f"turn {label} the light in the {place}" for label, own in places.items() for place in own]
    texts = ["turn off the light in the kitchen", "turn on the light in the hall", "turn on the light in the yard"]
    assert screened_beside(real, *texts, "turn on the light in the yard!") == ["", "", "", "duplicate"]
    # Five of nine runs of three are the same, and without the forms all three.
    longer = [f"turn {label} the light in the kitchen near stairs" for label in places]
    assert screened_beside(real, *longer) == ["", ""]


@pytest.mark.parametrize(
    "others",
    [
        ["z b c d e w x y v"],  # shares two of its seven runs of three
        ["k b c d e f g h l", "m n o p", "q r s t"],  # is of the form of one more, but half of the texts are not
    ],
)
def test_what_is_less_than_most_of_most_texts_is_no_form(others: list[str]) -> None:
    """Five of the nine runs are the same, three of seven if the opening were a form."""
    examples = [Example(text, "a") for text in ("a b c d e f g h i", *others)]
    reasons = screen_candidates(
        [Candidate("0", "q b c d e f g h r", "a", 0, "p")], examples, FilterRecipe(near_duplicate=0.5)
    )
    assert reasons == {"0": "near_duplicate"}


@pytest.mark.parametrize(
    ("real", "text", "reason"),
    [
        ("so good \U0001f600", "so good \U0001f621", ""),
        ("so good \U0001f600", "So good... \U0001f600", "copy_of_example"),
        ("so good \U0001f600", "so good \U0001f600\U0001f600\U0001f600!", "copy_of_example"),
        ("so good \U0001f600", "so good", ""),
        ("pay 5 $ now", "pay 5 \u20ac now", ""),
        ("what is 3 + 4", "what is 3 = 4", ""),
        ("a `quoted` word", "a quoted word", "copy_of_example"),
    ],
)
def test_symbols_may_be_all_that_differs(real: str, text: str, reason: str) -> None:
    candidates = [Candidate("0", text, "a", 0, "p")]
    reasons = screen_candidates(candidates, [Example(real, "a")], FilterRecipe(near_duplicate=1.0))
    assert reasons.get("0", "") == reason
