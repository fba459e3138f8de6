"""Words of texts, how often they occur, and which of them tell two sets of texts apart."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from handful.words import word_pattern

_FUNCTION_WORDS = (
    "a about after again all also am an and any are aren't as at be because been before being both but by can can't "
    "cannot could couldn't did didn't do does doesn't doing don't down during each few for from further had hadn't has "
    "hasn't have haven't having he he's her here hers herself him himself his how i i'd i'll i'm i've if in into is "
    "isn't it it's its itself just me more most my myself no nor not now of off on once only or other our ours "
    "ourselves out over own same she she's should shouldn't so some such than that that's the their theirs them "
    "themselves then there there's these they they're this those through to too under until up very was wasn't we "
    "we're were weren't what when where which while who whom why will with won't would wouldn't you you're your yours "
    "yourself yourselves"
)
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Function words of English, and of no other language."""


CLEAR_Z = 1.96
"""Standard errors from which a difference between two sets of texts is more than chance would often make it."""


@dataclass(frozen=True)
class WordDifference:
    """How much more one set of texts uses a word than another."""

    word: str
    log_odds: float
    """Difference of the log-odds, in nats; positive if the first set uses it more."""
    z: float
    """The same in standard errors."""
    count_a: int
    count_b: int


def words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters and digits, with apostrophes inside them.

    >>> words("She said: don't!")
    ['she', 'said', "don't"]
    """
    return [word.lower().replace("\u2019", "'") for word in word_pattern().findall(text)]


def first_words(text: str, count: int) -> str:
    """Return the beginning of a text up to the end of its `count`-th word, or to its last if it has fewer."""
    matches = list(itertools.islice(word_pattern().finditer(text), count))
    return text[: matches[-1].end()] if matches else ""


def content_words(text: str) -> list[str]:
    """Return the words of a text that are not `STOP_WORDS`, for word clouds; in English only."""
    return [word for word in words(text) if word not in STOP_WORDS]


def content_counts(texts: Iterable[str]) -> Counter[str]:
    """Return how often each word occurs, without function words and lone letters, which split contractions leave."""
    found = (word for text in texts for word in content_words(text))
    return Counter(word for word in found if len(word) > 1 or not word.isascii())


def log_odds(
    counts_a: Mapping[str, int], counts_b: Mapping[str, int], *, prior_strength: float = 100.0
) -> list[WordDifference]:
    """Compare the words of two sets of texts: the log-odds ratio with an informative Dirichlet prior.

    Monroe, Colaresi and Quinn 2008, "Fightin' Words", equations 15 to 22: with y the counts of a word, n those of all,
    and the prior counts a_w = `prior_strength` times the word's share of both sets together,

        log_odds = log((y_a + a_w) / (n_a + a - y_a - a_w)) - log((y_b + a_w) / (n_b + a - y_b - a_w))
        z = log_odds / sqrt(1 / (y_a + a_w) + 1 / (y_b + a_w)),    a = `prior_strength`.

    Args:
        counts_a: Occurrences by word in the first set.
        counts_b: The same in the second.
        prior_strength: Words the prior counts as, over the whole vocabulary; more of it draws rare words nearer to 0.

    Returns:
        Every word that occurs, the most typical of the first set first, ties by the word. A single word has odds of
        one to nothing in both sets and gets 0.

    Raises:
        ValueError: `prior_strength` is not positive.
    """
    if not prior_strength > 0:
        raise ValueError(f"prior_strength must be positive, got {prior_strength}")
    vocabulary = sorted(word for word in {*counts_a, *counts_b} if counts_a.get(word, 0) + counts_b.get(word, 0) > 0)
    total_a, total_b = sum(counts_a.values()), sum(counts_b.values())
    differences = []
    for word in vocabulary:
        a, b = counts_a.get(word, 0), counts_b.get(word, 0)
        difference = z = 0.0
        if len(vocabulary) > 1:
            prior = prior_strength * (a + b) / (total_a + total_b)
            difference = math.log((a + prior) / (total_a + prior_strength - a - prior))
            difference -= math.log((b + prior) / (total_b + prior_strength - b - prior))
            z = difference / math.sqrt(1 / (a + prior) + 1 / (b + prior))
        differences.append(WordDifference(word, difference, z, a, b))
    return sorted(differences, key=lambda entry: (-entry.z, entry.word))
