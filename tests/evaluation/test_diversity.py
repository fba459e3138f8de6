import dataclasses
import math
import time
import zlib

import pytest

from handful.evaluation.diversity import Diversity, equal_length, fewest_texts, measure_diversity, unique_ngrams
from handful.evaluation.words import words
from handful.seeding import stream


def test_numbers_by_hand() -> None:
    texts = ["a b c d", "a b c e"]
    found = measure_diversity(texts, ["x a b c"], seed=0)
    data = "\n".join(texts).encode()
    # Each against the other: 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, and 0.1 for none of one.
    bleu = (3 / 4 * 2 / 3 * 1 / 2 * 0.1) ** 0.25
    assert found.self_bleu == pytest.approx(bleu)
    assert dataclasses.replace(found, self_bleu=None) == Diversity(
        n_texts=2,
        n_words=8,
        unique_trigrams=3,
        distinct_1=5 / 8,
        distinct_2=4 / 8,
        distinct_3=3 / 8,
        self_bleu=None,
        compression_ratio=len(data) / len(zlib.compress(data, 9)),
        overlap=2 / 4,
    )


def test_self_bleu_at_its_ends() -> None:
    assert measure_diversity(["a b c d e"] * 3, [], 0).self_bleu == pytest.approx(1)
    assert measure_diversity(["a b", "a b"], [], 0).self_bleu == pytest.approx(1)
    assert measure_diversity(["a b c d", "e f g h"], [], 0).self_bleu == 0
    # The shorter text is all in the longer, but pays for its length; the other way round three words are not there.
    shorter = math.exp(1 - 4 / 2) * 1
    longer = (2 / 4 * 1 / 3 * 0.1 / 2 * 0.1) ** 0.25
    assert measure_diversity(["a b", "a b c d"], [], 0).self_bleu == pytest.approx((shorter + longer) / 2)


def test_a_text_is_as_long_as_the_other_nearest_in_length() -> None:
    scores = [math.exp(1 - 5 / 4), (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25, math.exp(1 - 4)]
    assert measure_diversity(["w x y z", "w x y z v", "w"], [], 0).self_bleu == pytest.approx(sum(scores) / 3)


def test_counts_are_clipped_by_one_other_text() -> None:
    # "a a" has two a, no other text more than one: 1 of 2 words, none of one pair.
    found = measure_diversity(["a a", "a b", "a c"], [], 0)
    first = (1 / 2 * 0.1) ** 0.5
    assert found.self_bleu == pytest.approx(first)


def test_texts_without_words() -> None:
    empty = Diversity(0, 0, 0, 0.0, 0.0, 0.0, None, 0.0, None)
    assert measure_diversity([], ["a b c"], 0) == empty
    found = measure_diversity(["...", "one"], [], 0)
    assert (found.n_texts, found.n_words, found.distinct_1, found.self_bleu, found.overlap) == (2, 1, 1.0, None, None)


def test_repetition_compresses() -> None:
    draw = stream(0, "numbers")
    varied = [" ".join(str(draw.random()) for _ in range(20)) for _ in range(5)]
    repeated = [varied[0]] * 5
    assert measure_diversity(repeated, [], 0).compression_ratio > 2 * measure_diversity(varied, [], 0).compression_ratio


def test_unique_ngrams_end_with_their_text() -> None:
    assert unique_ngrams(["a b c", "b c d"], 2) == 3
    assert unique_ngrams(["a b c", "b c d"], 1) == 4
    assert unique_ngrams(["a", "b"], 2) == 0


def test_equal_length_cuts_to_the_same_number_of_words() -> None:
    groups = {"few": ["one two three", "four five"], "many": [f"text {n} of some words" for n in range(40)]}
    cut = equal_length(groups, seed=3)
    assert {name: sum(len(words(text)) for text in texts) for name, texts in cut.items()} == {"few": 5, "many": 5}
    assert sorted(cut["few"]) == sorted(groups["few"])
    assert equal_length(groups, seed=3) == cut
    assert any(equal_length(groups, seed=seed)["many"] != cut["many"] for seed in range(4, 8))
    partly = equal_length({"a": ["1 2 3 4 5 6 7"], "b": ["x y z, z", "x y z, z"]}, seed=0)
    assert partly == {"a": ["1 2 3 4 5 6 7"], "b": ["x y z, z", "x y z"]}
    assert equal_length({"a": ["..."], "b": ["x"]}, seed=0) == {"a": [], "b": []}
    assert equal_length({}, seed=0) == {}


def test_self_bleu_of_many_texts_is_a_sample_and_fast() -> None:
    draw = stream(0, "texts")
    texts = [" ".join(f"w{draw.randrange(300)}" for _ in range(50)) for _ in range(400)]
    started = time.perf_counter()
    found = measure_diversity(texts, texts[:4], seed=1)
    assert time.perf_counter() - started < 2
    assert found == measure_diversity(texts, texts[:4], seed=1)
    assert found.self_bleu != measure_diversity(texts, [], seed=2).self_bleu
    assert found.overlap is not None
    assert found.overlap >= 4 / 400


def test_self_bleu_of_many_short_texts_is_higher_than_of_as_many_as_there_are_long_ones() -> None:
    draw = stream(0, "texts")
    short, long = ([[draw.choice("abcdefghijkl") for _ in range(n)] for _ in range(600 // n)] for n in (6, 30))
    groups = {"short": list(map(" ".join, short)), "long": list(map(" ".join, long))}
    assert fewest_texts({**groups, "one with words": ["...", "a"]}) == 20  # nothing to compare it with anyway
    assert fewest_texts({"one": ["a"]}) == 0
    assert fewest_texts(groups) == 20
    biased = [measure_diversity(texts, [], 0).self_bleu or 0.0 for texts in groups.values()]
    alike = [measure_diversity(texts, [], 0, fewest_texts(groups)).self_bleu or 0.0 for texts in groups.values()]
    assert biased[0] > alike[0]
    assert biased[1] == alike[1]
    assert len(groups["short"]) == 100
