"""The sections on what was measured: which method to use, where it errs, how far its probabilities can be believed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handful.evaluation.methods import METHODS, OURS
from handful.evaluation.metrics import calibration_error, confusion_matrix, per_label, reliability
from handful.evaluation.uncertainty import Difference, paired_difference
from handful.report.page import Block, Chip, Column, Figure, Figures, Fold, Section, Table, TextItem, TextList, table
from handful.report.plots import Bar, ReliabilityBin, bar_chart, heat_map, reliability_diagram
from handful.report.run_data import Answers, RunData
from handful.report.wording import NAME_CHARS, cut, number, percent, plural, points, share

MOST_CELLS = 24
"""A confusion matrix of more labels shows only those that are confused most."""
_HARDEST = 12
"""Labels shown unfolded, where there are more than `MOST_CELLS`."""
_MISTAKES = 12
_PAIRS = 15
_AS_SURE = 0.015
"""Gap of mean probability and accuracy that is not worth a word."""

Row = Mapping[str, Any]


def rows_by_method(data: RunData) -> dict[str, Row]:
    """Return the rows of results.json by method."""
    return {row["method"]: row for row in (data.results or {"methods": ()})["methods"]}


def best_other(data: RunData) -> Row | None:
    """Return the most accurate method that could be picked instead of ours."""
    others = [row for name, row in rows_by_method(data).items() if METHODS[name].is_rival]
    return max(others, key=lambda row: row["accuracy"], default=None)


def difference_to(data: RunData, method: str) -> Difference | None:
    """Return by how much ours is more accurate than another method on the same texts, if that can be said."""
    ours, other = (data.answers or {}).get(OURS), (data.answers or {}).get(method)
    if ours is None or other is None or len(ours.gold) != len(other.gold):
        return None
    return paired_difference(ours.right, other.right, data.seed)


def methods_section(data: RunData) -> Section:
    """Compare all methods: the table, and the bars."""
    rows = list(rows_by_method(data).values())
    columns = [
        "accuracy", "95 % interval", "macro-F1", "accuracy, calibrated", "macro-F1, calibrated", "ms a text",
        "prompt tokens", "ours less this, points",
    ]  # fmt: skip
    cells = [
        [
            row["title"],
            share(row["accuracy"]),
            f"{share(row['accuracy_low'])} to {share(row['accuracy_high'])}",
            share(row["macro_f1"]),
            *(number(row[name], 3) for name in ("calibrated_accuracy", "calibrated_macro_f1")),
            f"{row['ms_per_text']:.1f}",
            f"{row['prompt_tokens']:.0f}",
            _lead(data, row["method"]),
        ]
        for row in rows
    ]
    marked = [index for index, row in enumerate(rows) if row["method"] == OURS]
    bars = [
        Bar(row["title"], row["accuracy"], row["accuracy_low"], row["accuracy_high"], row["method"] == OURS)
        for row in rows
    ]
    caption = (
        "Accuracy with its 95 % interval (Wilson). Intervals that overlap do not prove that two methods are equal."
    )
    blocks = (
        table("method", columns, cells, marked=marked),
        bar_chart(bars, axis="accuracy", caption=caption),
    )
    intro = (
        f"Every method on the same {plural(data.results['n_test'] if data.results else 0, 'test text')}. 0-shot and "
        "ICL are the untuned model, without and with the real examples in its prompt; LoRA is tuned on the real "
        "examples alone; ours also on the texts the model wrote. Calibrated: with the model's prior over the labels "
        "taken out, estimated on texts it wrote, not on test texts. The last column compares answer by answer, with "
        "its interval."
    )
    return Section("Methods compared", intro, blocks)


def _lead(data: RunData, method: str) -> str:
    difference = None if method == OURS else difference_to(data, method)
    if difference is None:
        return "\u2013"
    return f"{points(difference.mean)} ({points(difference.low)} to {points(difference.high)})"


def labels_section(data: RunData, counted: str = "test texts") -> Section | None:
    """Say how well each label is found, by ours and by the best other method; `counted` says what of its is counted."""
    ours = (data.answers or {}).get(OURS)
    if ours is None:
        return None
    other = best_other(data)
    theirs = (data.answers or {}).get(other["method"]) if other else None
    own = per_label(ours.gold, ours.predicted, data.labels)
    columns = [counted, "precision", "recall", "F1"]
    beside: list[list[str]] = [[] for _ in own]
    if other is not None and theirs is not None:
        columns.append(f"F1 of {other['title']}")
        beside = [[share(row.f1)] for row in per_label(theirs.gold, theirs.predicted, data.labels)]
    rows = [
        [cut(row.label, NAME_CHARS), f"{row.n_texts:,}", share(row.precision), share(row.recall), share(row.f1), *more]
        for row, more in zip(own, beside, strict=True)
    ]
    if len(rows) > MOST_CELLS:
        hardest = sorted(range(len(own)), key=lambda index: own[index].f1)[:_HARDEST]
        said = f"The {_HARDEST} of {len(rows)} labels that ours finds least well."
        found: tuple[Block, ...] = (
            table("label", columns, [rows[index] for index in hardest], said),
            Fold(f"All {len(rows)} labels", (table("label", columns, rows),)),
        )
    else:
        found = (table("label", columns, rows),)
    figures = [_confusions(ours, data.labels, rows_by_method(data)[OURS]["title"])]
    if other is not None and theirs is not None:
        figures.append(_confusions(theirs, data.labels, other["title"]))
    intro = "Precision: how many of the answers with this label are right. Recall: how many of its texts are found."
    return Section("Label by label", intro, (*found, Figures(tuple(figures))))


def _confusions(answers: Answers, labels: Sequence[str], title: str) -> Figure:
    shown = most_confused(confusion_matrix(answers.gold, answers.predicted, labels), labels)
    matrix = confusion_matrix(answers.gold, answers.predicted, labels)
    places = [labels.index(label) for label in shown]
    part = [[matrix[y][x] for x in places] for y in places]
    less = f" The {len(shown)} of {len(labels)} labels that are confused most." if len(shown) < len(labels) else ""
    caption = f"{title}: rows are the true labels, shaded by their shares.{less}"
    return heat_map(part, shown, rows_are="true", columns_are="predicted", caption=caption)


def most_confused(matrix: Sequence[Sequence[int]], labels: Sequence[str], limit: int = MOST_CELLS) -> list[str]:
    """Return at most `limit` labels, pair by pair those that are taken for one another most, in the labels' order."""
    pairs = [(-n, y, x) for y, row in enumerate(matrix) for x, n in enumerate(row) if n and x != y]
    chosen: set[int] = set()
    # Labels that are never confused come last.
    for _, *pair in [*sorted(pairs), *((0, index) for index in range(len(labels)))]:
        if len(chosen | set(pair)) <= limit:
            chosen |= set(pair)
    return [label for index, label in enumerate(labels) if index in chosen]


def mistakes_section(data: RunData) -> Section | None:
    """Show which labels ours takes for which, and the wrong answers it is surest of."""
    ours = (data.answers or {}).get(OURS)
    if ours is None:
        return None
    wrong = [place for place, right in enumerate(ours.right) if not right]
    if not wrong:
        return Section("Mistakes", f"None on {plural(len(ours.gold), 'test text')}.")
    confidences = ours.confidences
    surest = sorted(wrong, key=lambda place: (-confidences[place], place))[:_MISTAKES]
    pairs = Counter((ours.gold[place], ours.predicted[place]) for place in wrong)
    rows = [
        (cut(gold, NAME_CHARS), cut(predicted, NAME_CHARS), f"{count:,}", percent(count / ours.gold.count(gold)))
        for (gold, predicted), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:_PAIRS]
    ]
    columns = (Column("true", "name"), Column("predicted", "name"), Column("texts"), Column("of that label"))
    items = tuple(_mistake(data, ours, place, confidences[place]) for place in surest)
    intro = (
        f"{len(wrong):,} of {plural(len(ours.gold), 'answer')} of ours are wrong. What it confuses most comes first."
    )
    texts = TextList(items, "The wrong answers it was surest of; some may be wrong labels in the test set")
    return Section("Mistakes", intro, (Table(columns, tuple(rows)), texts))


def _mistake(data: RunData, answers: Answers, place: int, confidence: float) -> TextItem:
    test = data.task.test or ()
    text = cut(test[place].text) if place < len(test) else f"(text {place} of the test set)"
    return TextItem(
        text,
        (
            Chip(f"true: {cut(answers.gold[place], NAME_CHARS)}", "good"),
            Chip(f"predicted: {cut(answers.predicted[place], NAME_CHARS)}", "bad"),
            Chip(f"probability {share(confidence)}"),
        ),
    )


def calibration_section(data: RunData, draws: Sequence[RunData] = ()) -> Section | None:
    """Say how far the probabilities of ours can be believed.

    Args:
        data: The answers, of one classifier or of several together.
        draws: Of several, each by itself: one that is too sure and one that is not sure enough, together err less.
    """
    ours = (data.answers or {}).get(OURS)
    if ours is None:
        return None
    gold = _gold_indices(data, ours)
    errors = [calibration_error(own.probabilities, _gold_indices(draw, own)) for draw, own in _of_ours(draws or [data])]
    error = statistics.fmean(errors)
    on_average = f", on average over {plural(len(errors), 'seed')}" if len(errors) > 1 else ""
    bins = [
        ReliabilityBin(b.low, b.high, b.n_texts, b.mean_confidence, b.accuracy)
        for b in reliability(ours.probabilities, gold)
    ]
    mean = sum(ours.confidences) / len(gold)
    accuracy = sum(ours.right) / len(gold)
    lean = "more sure than right" if mean > accuracy else "less sure than it could be"
    if abs(mean - accuracy) < _AS_SURE:
        lean = "as sure as it is right"
    intro = (
        f"Expected calibration error {share(error)}{on_average}: so far, on average, is a probability from how often "
        f"answers with it are right. The mean probability of an answer is {percent(mean)}, and {percent(accuracy)} "
        f"are right: on the whole, ours is {lean}."
    )
    caption = "On the dashed line, 70 % means 70 %. Below it, the model is too sure. Grey: how many texts."
    return Section("Can the probabilities be believed?", intro, (reliability_diagram(bins, caption=caption),))


def _of_ours(draws: Sequence[RunData]) -> Iterator[tuple[RunData, Answers]]:
    return ((draw, draw.answers[OURS]) for draw in draws if draw.answers and OURS in draw.answers)


def _gold_indices(data: RunData, answers: Answers) -> list[int]:
    return [data.labels.index(label) for label in answers.gold]
