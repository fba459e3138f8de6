"""What is wrong with a candidate before its label is asked for: malformed, a copy, or said before (paper, step 2)."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from datasketch import MinHash, MinHashLSH

from handful.prompts import FIELD_MARKERS, one_line
from handful.recipe import FilterRecipe
from handful.records import Candidate, Example
from handful.words import is_character, word_pattern

_SHINGLE_WORDS = 3
_COPIED_WORDS = 8
"""So many words in a row from a demonstration make a copy, however different the rest."""
_COPIED_CHARACTERS = 20
"""The same, where a word is a character."""
_PERMUTATIONS = 64

Shingles = frozenset[tuple[str, ...]]


def screen_candidates(
    candidates: Sequence[Candidate], examples: Sequence[Example], recipe: FilterRecipe
) -> dict[str, str]:
    """Find the candidates that need no judging.

    Earlier candidates win: a later one that repeats them is the duplicate.

    Args:
        candidates: In the order they were written.
        examples: The real examples; the longest bounds what is well-formed, and where one has a single word, or none
            (emoji), so may a candidate.
        recipe: Limits.

    Returns:
        Reason code per rejected candidate id: "empty", "unfinished", "field_marker", "broken", "too_short", "too_long",
        "copy_of_example", "duplicate" or "near_duplicate".
    """
    lengths = [len(words(example.text)) for example in examples]
    fewest = recipe.min_words if recipe.min_words > 2 else min(recipe.min_words, *lengths)
    most = recipe.max_length_ratio * max(4, *lengths)
    real = [_normalise(example.text) for example in examples]
    # What several examples have, as an opening or a signature, is how such texts are written.
    times = Counter(run for example in examples for run in set(_long_runs(words(example.text))))
    real_runs = {run for run, count in times.items() if count == 1}
    layout = _layout_words(examples)
    index = _NearDuplicates(recipe.near_duplicate, _frame(real))
    for text in real:
        index.add(text)
    seen: set[str] = set()
    reasons: dict[str, str] = {}
    for candidate in candidates:
        reason = _malformed(candidate, fewest, most, layout) or _copied(candidate.text, real, real_runs)
        text = _normalise(candidate.text)
        if not reason and text in seen:
            reason = "duplicate"
        if not reason and index.finds(text):
            reason = "near_duplicate"
        if reason:
            reasons[candidate.id] = reason
        else:
            seen.add(text)
            index.add(text)
    return reasons


_BROKEN = "\ufffd"
"""What bytes that are no character are read as."""
_LEGIBLE = 5
"""One broken character among so many leaves a text legible: real texts have misprints too."""


_SYMBOLS = {"So", "Sm", "Sc"}
"""Unicode's categories; not modifiers such as the backtick, which quotes."""


def _layout_words(examples: Sequence[Example]) -> re.Pattern[str]:
    """Return what finds words of the prompt's layout, but for those that real texts have."""
    texts = [one_line(example.text).casefold() for example in examples]
    markers = [rf"\b{re.escape(marker)}" for marker in FIELD_MARKERS]
    foreign = [marker for marker in markers if not any(re.search(marker, text) for text in texts)]
    return re.compile("|".join(foreign) or "(?!)")


def words(text: str) -> list[str]:
    """Return the words of a text, case-folded; of scripts without spaces, the characters."""
    return word_pattern().findall(unicodedata.normalize("NFKC", text).casefold())


def _normalise(text: str) -> str:
    """Return what two texts share that count as the same: words and symbols, or all of them where they have none.

    Symbols may be all that tells labels apart: emoji, currencies, operators. Punctuation is none of them.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    symbols = {character for character in folded if unicodedata.category(character) in _SYMBOLS}
    runs = itertools.groupby(folded)  # one emoji says what three do
    apart = "".join(f" {character} " if character in symbols else "".join(run) for character, run in runs)
    found = (([part] if part in symbols else word_pattern().findall(part)) for part in apart.split())
    return " ".join(itertools.chain.from_iterable(found)) or one_line(text)


def _malformed(candidate: Candidate, fewest_words: int, most_words: float, layout: re.Pattern[str]) -> str:
    text = one_line(candidate.text)
    n_words = len(words(text))
    if not n_words and (fewest_words or not text):
        return "empty"
    if not candidate.finished:
        return "unfinished"
    if layout.search(text.casefold()):
        return "field_marker"
    if text.count(_BROKEN) * _LEGIBLE > len(text):
        return "broken"
    if n_words < fewest_words:
        return "too_short"
    return "too_long" if n_words > most_words else ""


def _copied(text: str, real: Sequence[str], real_runs: set[tuple[str, ...]]) -> str:
    own = words(text)
    copied = _normalise(text) in real or any(run in real_runs for run in _long_runs(own))
    return "copy_of_example" if copied else ""


def _long_runs(tokens: Sequence[str]) -> Iterable[tuple[str, ...]]:
    for start, token in enumerate(tokens):
        end = start + (_COPIED_CHARACTERS if is_character(token) else _COPIED_WORDS)
        if end <= len(tokens):
            yield tuple(tokens[start:end])


def _runs(tokens: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    return (tuple(tokens[start : start + length]) for start in range(len(tokens) - length + 1))


def _shingles(text: str) -> Shingles:
    tokens = text.split()
    return frozenset(_runs(tokens, min(_SHINGLE_WORDS, len(tokens))))


def _frame(real: Sequence[str]) -> Shingles:
    """Return the word 3-grams of a form around a short slot, if it is most of most real texts; else nothing.

    What fills the slot tells such texts apart, and would be too few of their words.
    """
    shingles = [_shingles(text) for text in real]
    times = Counter(shingle for own in shingles for shingle in own)
    shared = frozenset(shingle for shingle, count in times.items() if count > 1)
    framed = sum(2 * len(own & shared) > len(own) for own in shingles)
    return shared if 2 * framed > len(real) else frozenset()


class _NearDuplicates:
    """Texts so far, found again by word 3-grams: candidates by MinHash, decided by the exact Jaccard similarity.

    Texts of a form are alike if they are so without it, too.
    """

    def __init__(self, threshold: float, frame: Shingles) -> None:
        self._threshold = threshold
        self._frame = frame
        self._texts: list[Shingles] = []
        # Looked up somewhat below the threshold, so that the sketch misses next to none that the exact test would find.
        self._lookup = MinHashLSH(threshold=max(0.1, threshold - 0.2), num_perm=_PERMUTATIONS)

    @property
    def _is_off(self) -> bool:
        """Whether only the same words would be found, which are looked for without it."""
        return self._threshold >= 1

    def add(self, text: str) -> None:
        if self._is_off:
            return
        shingles = _shingles(text)
        self._lookup.insert(len(self._texts), _sketch(shingles))
        self._texts.append(shingles)

    def finds(self, text: str) -> bool:
        if self._is_off:
            return False
        own = _shingles(text)
        near = [self._texts[i] for i in self._lookup.query(_sketch(own))]
        return any(self._alike(own, other) and self._alike(own - self._frame, other - self._frame) for other in near)

    def _alike(self, one: Shingles, other: Shingles) -> bool:
        return len(one & other) >= self._threshold * len(one | other)


def _sketch(shingles: Shingles) -> MinHash:
    sketch = MinHash(num_perm=_PERMUTATIONS, seed=1)
    for shingle in sorted(shingles):
        sketch.update(" ".join(shingle).encode())
    return sketch
