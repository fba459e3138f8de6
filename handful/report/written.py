"""The sections on what the model wrote: what was kept and why, and which labels the filter takes for one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from handful.evaluation.filter_quality import Overlap, filter_confusions, overlaps
from handful.records import Candidate, Verdict
from handful.report.comparison import most_confused
from handful.report.page import Block, Chip, Fold, Paragraph, Section, Table, TextItem, TextList, table
from handful.report.plots import heat_map
from handful.report.run_data import RunData
from handful.report.wording import NAME_CHARS, cut, percent, plural, quoted

REASONS = {
    "agrees": "the model gives it the label it was written for",
    "unfiltered": "kept, whatever label the model gives it",
    "random": "drawn at random",
    "not_drawn": "not drawn at random",
    "relabelled": "the model gives it another label, and it was kept under that one",
    "disagrees": "the model gives it another label",
    "low_margin": "the model is not sure enough of the label",
    "empty": "no words",
    "unfinished": "cut off at the token limit",
    "field_marker": "holds words of the prompt's layout",
    "too_short": "too short",
    "too_long": "much longer than the examples",
    "broken": "characters that are not whole",
    "copy_of_example": "copied from an example",
    "duplicate": "written before",
    "near_duplicate": "nearly the same as another",
}
"""Reason codes in words."""
_SHOWN_LABELS = 12
_REASON_COLUMNS = 8
_OVERLAPS = 6

Judged = Sequence[tuple[Candidate, Verdict]]


def written_section(data: RunData) -> Section | None:
    """Count what was kept for each label and why the rest was not, with examples to read."""
    if not data.candidates:
        return None
    judged = data.judged
    examples = [_examples(data, label) for label in data.labels[:_SHOWN_LABELS]]
    blocks: tuple[Block, ...] = (_counts(data, judged), _reasons(data, judged), *examples)
    if len(data.labels) > _SHOWN_LABELS:
        blocks += (
            Paragraph(f"Texts of the first {_SHOWN_LABELS} of {len(data.labels)} labels; verdicts.jsonl has all."),
        )
    intro = (
        "The model wrote texts for each label and then judged which label each of them has. Read some: what the "
        "classifier learns is as good as its judge."
    )
    return Section("What was written, and what was kept", intro, blocks)


def _counts(data: RunData, judged: Judged) -> Table:
    written = Counter(candidate.intended_label for candidate, _ in judged)
    outcome = Counter((candidate.intended_label, verdict.decision) for candidate, verdict in judged)
    under = Counter(verdict.label for _, verdict in judged if verdict.decision == "relabelled")
    used = Counter(row.label for row in data.written)
    real = Counter(example.label for example in data.task.examples)
    rows = []
    for label in data.labels:
        kept = outcome[label, "kept"]
        rows.append(
            [
                cut(label, NAME_CHARS),
                str(real[label]),
                f"{written[label]:,}",
                f"{kept:,}",
                f"{outcome[label, 'relabelled']:,}",
                f"{under[label]:,}",
                f"{outcome[label, 'rejected']:,}",
                percent(kept / written[label]) if written[label] else "\u2013",
                f"{used[label]:,}",
            ]
        )
    columns = [
        "real examples", "written for it", "kept", "moved to another label", "moved here", "rejected",
        "kept of written", "trained on",
    ]  # fmt: skip
    return table("label", columns, rows)


def _reasons(data: RunData, judged: Judged) -> Table:
    totals = Counter(verdict.reason for _, verdict in judged)
    each = Counter((verdict.reason, candidate.intended_label) for candidate, verdict in judged)
    labels = data.labels if len(data.labels) <= _REASON_COLUMNS else ()
    rows = [
        [REASONS.get(reason, cut(reason, NAME_CHARS)), f"{count:,}", *(f"{each[reason, label]:,}" for label in labels)]
        for reason, count in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    ]
    return table("why", ["texts", *(cut(label, NAME_CHARS) for label in labels)], rows, "Reasons, by intended label")


def _examples(data: RunData, label: str) -> Fold:
    own = [(candidate, verdict) for candidate, verdict in data.judged if candidate.intended_label == label]
    kept = sorted((p for p in own if p[1].decision == "kept"), key=lambda pair: (-pair[1].margin, pair[0].id))
    moved = sorted((p for p in own if p[1].decision == "relabelled"), key=lambda pair: (pair[1].margin, pair[0].id))
    rejected = [pair for pair in own if pair[1].decision == "rejected"]
    judged = sorted((p for p in rejected if p[1].label_probabilities), key=lambda pair: (pair[1].margin, pair[0].id))
    screened = _one_per_reason(pair for pair in rejected if not pair[1].label_probabilities)
    real = tuple(TextItem(cut(example.text)) for example in data.task.examples if example.label == label)
    lists: list[Block] = [TextList(real[:5], "Real examples")]
    lists += _listed(data, [*kept[:3], *kept[3:][-2:]], "Kept: the surest, and the least sure")
    lists += _listed(data, moved[:4], "Moved to another label: the clearest")
    lists += _listed(data, judged[:4], "Rejected by the judge: the clearest")
    lists += _listed(data, screened[:4], "Rejected before judging")
    elsewhere = f"{len(moved)} moved, " if moved else ""
    title = f"{cut(label, NAME_CHARS)}: {len(kept)} kept, {elsewhere}{len(rejected)} rejected"
    return Fold(title, tuple(lists))


def _one_per_reason(pairs: Iterable[tuple[Candidate, Verdict]]) -> list[tuple[Candidate, Verdict]]:
    first: dict[str, tuple[Candidate, Verdict]] = {}
    for pair in pairs:
        first.setdefault(pair[1].reason, pair)
    return list(first.values())


def _listed(data: RunData, pairs: Judged, caption: str) -> list[Block]:
    if not pairs:
        return []
    return [TextList(tuple(_item(data, candidate, verdict) for candidate, verdict in pairs), caption)]


def _item(data: RunData, candidate: Candidate, verdict: Verdict) -> TextItem:
    chips = [
        Chip(verdict.decision, "bad" if verdict.decision == "rejected" else "good"),
        Chip(REASONS.get(verdict.reason, cut(verdict.reason, NAME_CHARS))),
    ]
    likely = sorted(zip(verdict.label_probabilities, data.labels, strict=False), key=lambda pair: -pair[0])
    chips += [Chip(f"{cut(label, NAME_CHARS)} {probability:.2f}") for probability, label in likely[:2]]
    return TextItem(cut(candidate.text), tuple(chips))


def overlap_section(data: RunData) -> Section | None:
    """Show which label the judge gives to the texts written for each, and warn of labels that overlap."""
    candidates, verdicts = [candidate for candidate, _ in data.judged], [verdict for _, verdict in data.judged]
    matrix = filter_confusions(candidates, verdicts, data.labels)
    if not any(map(sum, matrix)):
        return None
    shown = most_confused(matrix, data.labels)
    places = [data.labels.index(label) for label in shown]
    caption = "Rows are the labels the texts were written for, columns those the model gave them."
    if len(shown) < len(data.labels):
        caption += f" The {len(shown)} of {len(data.labels)} labels that are confused most."
    part = [[matrix[y][x] for x in places] for y in places]
    figure = heat_map(part, shown, rows_are="written for", columns_are="judged", caption=caption)
    warnings = tuple(map(_overlap, overlaps(candidates, verdicts, data.labels)[:_OVERLAPS]))
    intro = (
        "Where many texts written for one label read as another, the two overlap, or their descriptions do not tell "
        "them apart, or the model does not know the difference. Say in the task file what sets them apart, or "
        "merge them."
    )
    none = () if warnings else (Paragraph("No two labels stand out."),)
    return Section("Labels the filter takes for one another", intro, (*warnings, *none, figure))


def _overlap(found: Overlap) -> Paragraph:
    return Paragraph(
        f"{found.share.hits} of {plural(found.share.total, 'text')} written for {quoted(found.intended)} read as "
        f"{quoted(found.judged)} to the model.",
        warning=True,
    )
