"""How varied texts are, in numbers that can be compared between sets of the same length (`equal_length`)."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from handful.evaluation.words import first_words, words
from handful.seeding import stream

_BLEU_TEXTS = 100
_BLEU_ORDER = 4
_NO_MATCH = 0.1
"""What counts for no n-gram in common (method 1 of Chen and Cherry 2014), as in the paper of self-BLEU."""
_OVERLAP_WORDS = 3

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Diversity:
    """How varied some texts are. All but `overlap` depend on how much text there is: compare equal lengths."""

    n_texts: int
    n_words: int
    unique_trigrams: int
    """Different word 3-grams (Patwa et al. 2024, figure 7)."""
    distinct_1: float
    """Different words per word (Li et al. 2016), in [0, 1]; 0 without words, like the next two."""
    distinct_2: float
    """Different word 2-grams per word."""
    distinct_3: float
    """Different word 3-grams per word."""
    self_bleu: float | None
    """Mean BLEU-4 of a text against the others (Zhu et al. 2018), in [0, 1]: 1 says all are the same. None if fewer
    than two texts have words."""
    compression_ratio: float
    """Bytes per byte compressed by zlib (Shaib et al. 2024): the higher, the more repeats itself; 0 without bytes."""
    overlap: float | None
    """Share of the word 3-grams, repeats counted, that occur in the reference texts too, in [0, 1]. None without
    references, or without 3-grams."""


def measure_diversity(
    texts: Sequence[str], references: Sequence[str], seed: int, bleu_texts: int = _BLEU_TEXTS
) -> Diversity:
    """Measure how varied some texts are.

    Args:
        texts: The texts.
        references: The real examples the texts were written after; none if the texts are the examples themselves.
        seed: Draws the texts that self-BLEU compares with each other.
        bleu_texts: How many at most, and never more than 100: among more texts each is more like one of the others, so
            sets are to be compared by as many (`fewest_texts`).
    """
    tokens = [words(text) for text in texts]
    n_words = sum(map(len, tokens))
    unique = [len(set(_all_ngrams(tokens, n))) for n in (1, 2, 3)]
    distinct = [count / n_words if n_words else 0.0 for count in unique]
    return Diversity(
        n_texts=len(texts),
        n_words=n_words,
        unique_trigrams=unique[2],
        distinct_1=distinct[0],
        distinct_2=distinct[1],
        distinct_3=distinct[2],
        self_bleu=_self_bleu([row for row in tokens if row], seed, min(bleu_texts, _BLEU_TEXTS)),
        compression_ratio=_compression_ratio(texts),
        overlap=_overlap(tokens, [words(text) for text in references]),
    )


def unique_ngrams(texts: Sequence[str], n: int) -> int:
    """Return how many different word n-grams the texts hold; none reaches over the end of a text."""
    return len(set(_all_ngrams([words(text) for text in texts], n)))


def equal_length(groups: Mapping[str, Sequence[str]], seed: int, most_words: int | None = None) -> dict[str, list[str]]:
    """Cut every group of texts to the number of words of the shortest.

    Args:
        groups: Texts by name; one without words leaves nothing of any.
        seed: Draws, group by group, which texts stay.
        most_words: Cut further, to compare with groups that are not here.

    Returns:
        Texts by name, in the order drawn; the last of each is cut behind the word that fills the number.
    """
    length = min(map(total_words, groups.values()), default=0)
    if most_words is not None:
        length = min(length, most_words)
    return {name: _cut(texts, length, seed, name) for name, texts in groups.items()}


def fewest_texts(groups: Mapping[str, Sequence[str]]) -> int:
    """Return how many texts with words the smallest group of several has: of as many words, longer texts are fewer."""
    counts = [sum(bool(words(text)) for text in texts) for texts in groups.values()]
    return min((count for count in counts if count > 1), default=0)


def total_words(texts: Sequence[str]) -> int:
    """Return how many words the texts have together."""
    return sum(len(words(text)) for text in texts)


def first_texts(texts: Iterable[str], n_words: int) -> list[str]:
    """Return the first texts that have so many words together, the last of them cut behind the word that fills it."""
    kept: list[str] = []
    for text in texts:
        if n_words <= 0:
            break
        own = len(words(text))
        kept.append(text if own <= n_words else first_words(text, n_words))
        n_words -= own
    return kept


def _cut(texts: Sequence[str], length: int, seed: int, name: str) -> list[str]:
    order = list(texts)
    stream(seed, "equal-length", name).shuffle(order)
    return first_texts(order, length)


def _ngrams(tokens: Sequence[str], n: int) -> Iterator[Gram]:
    return (tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


def _all_ngrams(rows: Sequence[Sequence[str]], n: int) -> Iterator[Gram]:
    return (gram for row in rows for gram in _ngrams(row, n))


def _compression_ratio(texts: Sequence[str]) -> float:
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data, 9)) if data else 0.0


def _overlap(rows: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float | None:
    known = set(_all_ngrams(references, _OVERLAP_WORDS))
    grams = list(_all_ngrams(rows, _OVERLAP_WORDS))
    return sum(gram in known for gram in grams) / len(grams) if grams and references else None


def _self_bleu(rows: Sequence[Sequence[str]], seed: int, most: int) -> float | None:
    if len(rows) > most:
        rows = [rows[place] for place in sorted(stream(seed, "self-bleu").sample(range(len(rows)), most))]
    if len(rows) < 2:
        return None
    precisions = [_precisions(rows, n) for n in range(1, _BLEU_ORDER + 1)]
    lengths = [len(row) for row in rows]
    scores = []
    for index, length in enumerate(lengths):
        # A text of two words has no 3-grams to compare: only the orders it has count.
        order = min(_BLEU_ORDER, length)
        mean = math.prod(of[index] for of in precisions[:order]) ** (1 / order)
        scores.append(mean * _brevity(length, [*lengths[:index], *lengths[index + 1 :]]))
    return sum(scores) / len(scores)


def _precisions(rows: Sequence[Sequence[str]], n: int) -> list[float]:
    """Return each row's n-gram precision against all others, smoothed unless it is of single words."""
    counts = [Counter(_ngrams(row, n)) for row in rows]
    # The most another row has of an n-gram: the highest count, or the second highest for the row that has the highest.
    # With both kept, the comparison of all with all takes one pass.
    best: dict[Gram, tuple[int, int]] = {}
    for counter in counts:
        for gram, count in counter.items():
            first, second = best.get(gram, (0, 0))
            best[gram] = (count, first) if count > first else (first, max(second, count))
    precisions = []
    for counter in counts:
        matches = 0
        for gram, count in counter.items():
            first, second = best[gram]
            matches += min(count, second if count == first else first)
        smoothed = matches if matches or n == 1 else _NO_MATCH
        precisions.append(smoothed / max(1, counter.total()))
    return precisions


def _brevity(length: int, others: Sequence[int]) -> float:
    closest = min(others, key=lambda other: (abs(other - length), other))
    return 1.0 if length >= closest else math.exp(1 - closest / length)
