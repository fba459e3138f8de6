"""The sections on how the written texts differ from real ones: word clouds, words, diversity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from handful.evaluation.diversity import equal_length, fewest_texts, measure_diversity, total_words, unique_ngrams
from handful.evaluation.words import CLEAR_Z, WordDifference, content_counts, log_odds
from handful.report.clouds import cloud_pair
from handful.report.page import Block, Figure, Fold, Section, table
from handful.report.plots import Point, Series, line_chart
from handful.report.run_data import RunData
from handful.report.wording import NAME_CHARS, cut, plural, share, signed

_CLOUDS = 12
_OPEN_CLOUDS = 4
"""Shown unfolded, where there are more labels than `_CLOUDS`."""
_WORDS = 10
_CURVE_POINTS = 6
_FEWEST_WORDS = 20
"""Of the shortest point of a curve."""
_WRITTEN = "written, trained on"
_LEAST_SHARE = 10
"""Other texts are compared if they have at least one in so many words of those that were trained on."""


def real_texts(data: RunData, label: str | None = None) -> list[str]:
    """Return the real texts of a label, or all: the examples, and the test texts, which nothing was made from."""
    both = (*data.task.examples, *(data.task.test or ()))
    return [example.text for example in both if label in (None, example.label)]


def written_texts(data: RunData, label: str | None = None) -> list[str]:
    """Return the written texts that were trained on, of a label, or all."""
    return [row.text for row in data.written if label in (None, row.label)]


def words_section(data: RunData) -> Section | None:
    """Show the words of written texts beside those of real ones, and the words that tell them apart."""
    if not data.written:
        return None
    clouds: list[Block] = []
    for label in data.labels[:_CLOUDS]:
        real, written = (content_counts(texts(data, label)) for texts in (real_texts, written_texts))
        clouds.append(cloud_pair(real, written, label=cut(label, NAME_CHARS)))
    blocks = clouds
    if len(data.labels) > _CLOUDS:
        title = f"The next {_CLOUDS - _OPEN_CLOUDS} of {len(data.labels)} labels"
        blocks = [*clouds[:_OPEN_CLOUDS], Fold(title, tuple(clouds[_OPEN_CLOUDS:]))]
    blocks += _word_tables(data)
    n_real, n_test = len(data.task.examples), len(data.task.test or ())
    test = f" and {plural(n_test, 'test text')}" if n_test else ""
    intro = (
        f"Real: the {plural(n_real, 'example')}{test}. Written: the {plural(len(data.written), 'text')} that were "
        "trained on. English function words are left out."
    )
    return Section("Words, real and written", intro, tuple(blocks))


def _word_tables(data: RunData) -> list[Block]:
    written, real = content_counts(written_texts(data)), content_counts(real_texts(data))
    differences = log_odds(written, real)
    more = [entry for entry in differences if entry.z >= CLEAR_Z][:_WORDS]
    less = [entry for entry in reversed(differences) if entry.z <= -CLEAR_Z][:_WORDS]
    return [
        _word_table(more, "Words the model uses more than real texts do"),
        _word_table(less, "Words real texts use more"),
    ]


def _word_table(entries: Sequence[WordDifference], caption: str) -> Block:
    rows = [
        [cut(entry.word, 40), signed(entry.log_odds, 2), signed(entry.z, 1), f"{entry.count_a:,}", f"{entry.count_b:,}"]
        for entry in entries
    ]
    return table("word", ["log-odds", "in standard errors", "written", "real"], rows, caption)


def diversity_section(data: RunData) -> Section | None:
    """Say how varied the written texts are, beside real ones."""
    if not data.written:
        return None
    examples = [example.text for example in data.task.examples]
    groups = {_WRITTEN: written_texts(data), "written, rejected": _rejected(data)}
    if data.task.test:
        groups["real test texts"] = [example.text for example in data.task.test]
    groups = {name: texts for name, texts in groups.items() if len(texts) > 1}
    lengths = {name: total_words(texts) for name, texts in groups.items()}
    # All are cut to the shortest: a few rejected texts would leave nothing of the others to compare.
    least = lengths.get(_WRITTEN, 0) / _LEAST_SHARE
    groups = {name: texts for name, texts in groups.items() if lengths[name] >= least}
    equal = equal_length(groups, data.seed)
    fewest = fewest_texts(equal)
    rows = [_diversity_row(name, list(texts), examples, data.seed, fewest) for name, texts in equal.items()]
    rows.append(_diversity_row("the real examples", examples, [], data.seed, len(examples)))
    columns = [
        "texts", "words", "different 3-word runs", "different words per word", "3-word runs per word", "self-BLEU",
        "compression", "3-word runs of the examples",
    ]  # fmt: skip
    intro = (
        "All groups but the examples are cut to the same number of words, and self-BLEU is of as many texts of each: "
        "without that these numbers could not be compared. The higher self-BLEU and compression, the more the texts "
        "repeat one another; the last column is how much of them stood in the real examples already."
    )
    curve = _growth(groups, min(map(total_words, equal.values()), default=0), data.seed)
    return Section("How varied the texts are", intro, (table("texts", columns, rows), *([curve] if curve else [])))


def _growth(groups: Mapping[str, Sequence[str]], most_words: int, seed: int) -> Figure | None:
    """Unique trigrams against data size (paper, figure 7), from half to half down from all the words."""
    sizes = [most_words >> halved for halved in reversed(range(_CURVE_POINTS))]
    sizes = [size for size in sizes if size >= _FEWEST_WORDS]
    if len(sizes) < 2 or len(groups) < 2:
        return None
    # What is drawn for a smaller size begins what is drawn for a larger one: the order depends on seed and name alone.
    cut_to = {size: equal_length(groups, seed, size) for size in sizes}
    found = {name: [unique_ngrams(cut_to[size][name], 3) for size in sizes] for name in groups}
    lines = [
        Series(name, tuple(Point(size, count, count, count) for size, count in zip(sizes, counts, strict=True)))
        for name, counts in found.items()
    ]
    return line_chart(
        lines,
        x_axis="words",
        y_axis="different 3-word runs",
        shown="{:,.0f}".format,
        caption="The lower a line, the more its texts repeat one another.",
    )


def _rejected(data: RunData) -> list[str]:
    return [candidate.text for candidate, verdict in data.judged if verdict.decision == "rejected"]


def _diversity_row(name: str, texts: Sequence[str], references: Sequence[str], seed: int, bleu_texts: int) -> list[str]:
    found = measure_diversity(texts, references, seed, bleu_texts)
    return [
        name,
        f"{found.n_texts:,}",
        f"{found.n_words:,}",
        f"{found.unique_trigrams:,}",
        share(found.distinct_1),
        share(found.distinct_3),
        "\u2013" if found.self_bleu is None else share(found.self_bleu),
        f"{found.compression_ratio:.2f}",
        "\u2013" if found.overlap is None else share(found.overlap),
    ]
