"""The parts of a benchmark's report on what was written: the filter, diversity, words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from handful.evaluation.filter_quality import Share
from handful.evaluation.methods import ORACLE
from handful.report.clouds import cloud_pair
from handful.report.page import Block, Fold, Paragraph, Table, table
from handful.report.plots import heat_map
from handful.report.wording import NAME_CHARS, cut, number, percent

_MOST_LABELS = 12
_CHANGES_CHARS = 300
"""What tells two ways of writing apart may stand at the end of their names."""
_DIVERSITY = {
    "unique trigrams": ("unique_trigrams", 0),
    "distinct-1": ("distinct_1", 3),
    "distinct-2": ("distinct_2", 3),
    "distinct-3": ("distinct_3", 3),
    "Self-BLEU": ("self_bleu", 3),
    "compression ratio": ("compression_ratio", 2),
    "trigrams of the examples": ("overlap", 3),
}
"""Title, field and digits of the measures shown; see `evaluation.diversity`."""

Row = Mapping[str, Any]

WORDS = (
    "Real: the task's examples and test texts. Written: the texts that were kept, of the first seed. English function "
    "words are left out. The differences are log-odds with a Dirichlet prior (Monroe et al. 2008), in standard errors; "
    "those below 1.96 are left out."
)


def about_written(result: Row, draws: Sequence[Row]) -> str:
    """Say how what was written is measured."""
    oracle = next((row for row in result["methods"] if row["spec"] == ORACLE.key), None)
    texts = "" if oracle is None else number(oracle["means"]["n_training"], 0)
    judged = (
        f"The oracle is a classifier tuned on all {texts} training texts, right on "
        f"{percent(oracle['accuracy']['mean'])} of the test texts; intervals (95 %) are for other written texts. "
        if oracle is not None and any(row["precision"] for row in draws)
        else ""
    )
    return (
        f"Counted over all seeds. {judged}Diversity is measured at equal length, so that a larger set is not more "
        "diverse for being larger; the real texts are those that the model was not shown."
    )


def word_blocks(result: Row, draw: Row) -> Iterator[Block]:
    """Word clouds per label (paper, figure 4), and beside them the words that differ most."""
    for label in result["labels"][:_MOST_LABELS]:
        entry = draw["words"][label]
        yield cloud_pair(Counter(entry["real"]), Counter(entry["kept"]), label=cut(label, NAME_CHARS))
        rows = [
            [cut(word["word"], 40), f"{word['z']:+.1f}", f"{word['count_a']:,}", f"{word['count_b']:,}"]
            for word in (*entry["more_in_kept"], *entry["more_in_real"])
        ]
        title = f"{cut(label, NAME_CHARS)}: the words that differ most"
        yield Fold(title, (table("word", ["written less real", "written", "real"], rows),))
    if len(result["labels"]) > _MOST_LABELS:
        yield Paragraph(f"The first {_MOST_LABELS} of {len(result['labels'])} labels.")


def written_blocks(result: Row, draws: Sequence[Row]) -> Iterator[Block]:
    """Yield what was written in each way, what the filter mixed up, and how often it was right."""
    yield _filter_table(draws)
    yield _diversity_table(draws)
    plain = [row for row in draws if not row["changes"]]
    if plain and len(result["labels"]) <= _MOST_LABELS:
        matrix = np.sum([row["confusions"] for row in plain], axis=0).tolist()
        caption = "Texts asked for one label that the model judged to be of another: labels that overlap for it."
        yield heat_map(matrix, result["labels"], rows_are="asked for", columns_are="judged", caption=caption)
    measured = [row for row in plain if row["precision"]]
    if measured:
        yield _precision(measured, result["labels"])


def _by_changes(draws: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in draws:
        groups[cut(", ".join(row["changes"]) or "the recipe", _CHANGES_CHARS)].append(row)
    return groups


def _filter_table(draws: Sequence[Row]) -> Table:
    rows = []
    for name, group in _by_changes(draws).items():
        precision = [row["precision"] for row in group if row["precision"]]
        rows.append(
            [
                name,
                str(len(group)),
                f"{sum(row['n_candidates'] for row in group):,}",
                _share(group, "n_kept"),
                _share(group, "n_relabelled"),
                _pooled(precision, "before"),
                _pooled(precision, "after"),
                _pooled(precision, "relabelled"),
                _pooled(precision, "after", "relabelled"),
            ]
        )
    columns = [
        "draws",
        "written",
        "kept, of those judged",
        "moved to another label, of those judged",
        "right by the oracle, before the filter",
        "of those kept",
        "of those moved",
        "of all kept or moved",
    ]
    return table("writing", columns, rows, "Each way of writing that was measured, and its filter.")


def _diversity_table(draws: Sequence[Row]) -> Table:
    groups = {name: [row["diversity"].get("kept") for row in group] for name, group in _by_changes(draws).items()}
    groups["real texts"] = [row["diversity"].get("real") for row in draws]
    rows = []
    for name, measured in groups.items():
        known = [entry for entry in measured if entry is not None]
        if known or name != "real texts":
            averages = [(_average([entry[key] for entry in known]), digits) for key, digits in _DIVERSITY.values()]
            rows.append([name, *(number(value, digits) for value, digits in averages)])
    return table("writing", list(_DIVERSITY), rows, "How varied the kept texts are, and real ones.")


def _share(draws: Sequence[Row], counted: str) -> str:
    return percent(sum(row[counted] for row in draws) / max(1, sum(row["n_judged"] for row in draws)))


def _pooled(precision: Sequence[Row], *groups: str) -> str:
    of_all = Share(*(sum(row[group][key] for row in precision for group in groups) for key in ("hits", "total")))
    low, high = of_all.interval
    counts = f"{of_all.hits:,} of {of_all.total:,}"
    return f"{percent(of_all.value)} ({percent(low)} to {percent(high)}; {counts})" if of_all.total else "\u2013"


def _precision(draws: Sequence[Row], labels: Sequence[str]) -> Table:
    rows = [
        [cut(label, NAME_CHARS), *(_pooled([row["precision"]["by_label"][label] for row in draws], w) for w in _WHEN)]
        for label in labels
    ]
    return table(
        "label", ["right by the oracle, before the filter", "of those kept"], rows, "The filter, label by label."
    )


_WHEN = ("before", "after")


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
