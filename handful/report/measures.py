"""What the report asks of `handful.evaluation`, looked up when it is needed: a part that is not there is left out."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class NotThereError(Exception):
    """This installation has no such measure."""


class Difference(Protocol):
    """How much more often one method is right than another on the same texts."""

    mean: float
    low: float
    high: float
    p_value: float


class LabelMetrics(Protocol):
    """How well one label is found."""

    label: str
    precision: float
    recall: float
    f1: float
    n_texts: int


class Bin(Protocol):
    """The texts whose answer has a probability between two bounds."""

    low: float
    high: float
    n_texts: int
    mean_confidence: float
    accuracy: float


class WordDifference(Protocol):
    """How much more one set of texts uses a word than another."""

    word: str
    log_odds: float
    z: float
    count_a: int
    count_b: int


class Diversity(Protocol):
    """How varied some texts are."""

    n_texts: int
    n_words: int
    unique_trigrams: int
    distinct_1: float
    distinct_2: float
    distinct_3: float
    self_bleu: float | None
    compression_ratio: float
    overlap: float | None


def paired_difference(right_a: Sequence[bool], right_b: Sequence[bool], seed: int) -> Difference:
    """Return the difference in accuracy of two methods on the same texts, with its interval."""
    found: Difference = _find("uncertainty", "paired_difference")(np.array(right_a), np.array(right_b), seed)
    return found


def confusion_matrix(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> list[list[int]]:
    """Return counts: a row per true label, a column per predicted one."""
    found: list[list[int]] = _find("metrics", "confusion_matrix")(gold, predicted, labels)
    return found


def per_label(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> Sequence[LabelMetrics]:
    """Return precision, recall and F1 of every label."""
    found: Sequence[LabelMetrics] = _find("metrics", "per_label")(gold, predicted, labels)
    return found


def calibration_error(probabilities: Sequence[Sequence[float]], gold_indices: Sequence[int]) -> float:
    """Return the expected calibration error."""
    return float(_find("metrics", "calibration_error")(np.array(probabilities), np.array(gold_indices)))


def reliability(probabilities: Sequence[Sequence[float]], gold_indices: Sequence[int]) -> Sequence[Bin]:
    """Return how often answers are right, by how probable they were called."""
    found: Sequence[Bin] = _find("metrics", "reliability")(np.array(probabilities), np.array(gold_indices))
    return found


def content_counts(texts: Sequence[str]) -> Counter[str]:
    """Return how often each word occurs, without function words and lone letters, which split contractions leave."""
    content_words = _find("words", "content_words")
    found = (word for text in texts for word in content_words(text))
    return Counter(word for word in found if len(word) > 1 or not word.isascii())


def log_odds(counts_a: Mapping[str, int], counts_b: Mapping[str, int]) -> Sequence[WordDifference]:
    """Return the words that tell two sets of texts apart, with those typical of the first one first."""
    found: Sequence[WordDifference] = _find("words", "log_odds")(counts_a, counts_b)
    return sorted(found, key=lambda difference: (-difference.z, difference.word))


def measure_diversity(texts: Sequence[str], references: Sequence[str], seed: int) -> Diversity:
    """Return how varied some texts are."""
    found: Diversity = _find("diversity", "measure_diversity")(texts, references, seed)
    return found


def equal_length(groups: Mapping[str, Sequence[str]], seed: int) -> Mapping[str, Sequence[str]]:
    """Return every group of texts cut to the number of words of the shortest."""
    found: Mapping[str, Sequence[str]] = _find("diversity", "equal_length")(groups, seed)
    return found


def _find(module: str, name: str) -> Any:
    where = f"handful.evaluation.{module}"
    try:
        return getattr(importlib.import_module(where), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != where:
            raise
        raise NotThereError(f"{where}.{name}") from None
