"""The audit in short tables: what stands out; everything else is in audit.json and `--json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from handful.cli.console import say, show_table

if TYPE_CHECKING:
    from handful.evaluation.audit import Audit, SourceAudit
    from handful.evaluation.bias import Association
    from handful.evaluation.diversity import Diversity
    from handful.evaluation.swaps import SwapRate, SwapReport
    from handful.evaluation.words import WordDifference

_MOST_ROWS = 20
_MOST_CHARACTERS = 160


def show_audit(audit: Audit) -> None:
    """Print the audit on stdout."""
    found = (("real", audit.real), ("synthetic", audit.synthetic), ("test", audit.test))
    sources = [(name, source) for name, source in found if source]
    *first, last = (f"{source.n_texts} {name}" for name, source in sources)
    say(f"{audit.task}: {', '.join(first)}{' and ' if first else ''}{last} texts")
    columns = ["how varied", "texts", "words", "3-grams", "distinct-1", "-2", "-3", "self-BLEU", "zlib", "from real"]
    show_table(columns, [_diversity_row(name, row) for name, row in _diversities(sources)])
    if audit.synthetic is not None:
        say(f"Words of the synthetic texts more than of the real: {_listed(audit.synthetic_words)}")
        say(f"Words of the real texts more than of the synthetic: {_listed(audit.real_words)}")
    rows = list(_mention_rows(sources))
    if rows:
        show_table(["texts that mention", *(name for name, _ in sources)], rows)
    else:
        say("No text mentions a group of the lists.")
    for name, source in sources:
        _show_associations(name, source)
    if audit.swaps is None:
        say(audit.swaps_skipped)
    else:
        _show_swaps(audit.swaps, audit.swapped_in, audit.swaps_left_out)
    say(audit.note)


def _diversities(sources: Sequence[tuple[str, SourceAudit]]) -> Iterator[tuple[str, Diversity]]:
    for name, source in sources:
        if source.diversity_equal_length is not None:
            yield f"{name}, equal length", source.diversity_equal_length
    for name, source in sources:
        yield f"{name}, all", source.diversity


def _diversity_row(name: str, row: Diversity) -> list[str]:
    distinct = [f"{share:.2f}" for share in (row.distinct_1, row.distinct_2, row.distinct_3)]
    bleu = "-" if row.self_bleu is None else f"{row.self_bleu:.2f}"
    overlap = "-" if row.overlap is None else f"{row.overlap:.1%}"
    counts = [str(row.n_texts), str(row.n_words), str(row.unique_trigrams)]
    return [name, *counts, *distinct, bleu, f"{row.compression_ratio:.2f}", overlap]


def _listed(words: Sequence[WordDifference]) -> str:
    return ", ".join(entry.word for entry in words) or "none that stands out"


def _mention_rows(sources: Sequence[tuple[str, SourceAudit]]) -> Iterator[list[str]]:
    for axis, groups in sources[0][1].mentions.items():
        for group in groups:
            counts = [source.mentions[axis][group] for _, source in sources]
            if any(counts):
                yield [f"{axis}: {group}", *map(str, counts)]


def _show_associations(name: str, source: SourceAudit) -> None:
    clear = sorted((entry for entry in source.associations if entry.excludes_zero), key=lambda entry: entry.p_value)
    adjusted = sum(entry.survives_adjustment for entry in clear)
    if not source.comparisons:
        say(f"Labels and groups in the {name} texts: nothing to compare.")
        return
    say(
        f"Labels and groups in the {name} texts: {source.comparisons} comparisons, of which chance alone makes about "
        f"{source.expected_by_chance:.1f} stand out; {len(clear)} do, {adjusted} after adjustment for their number."
    )
    if clear:
        columns = [
            "group",
            "label",
            "of the group",
            "of the others",
            "others: texts of",
            "log-odds ratio",
            "95 % interval",
            "adjusted p",
        ]
        show_table(columns, [_association_row(entry) for entry in clear[:_MOST_ROWS]])
    if len(clear) > _MOST_ROWS:
        say(f"and {len(clear) - _MOST_ROWS} more")


def _association_row(entry: Association) -> list[str]:
    from handful.evaluation.uncertainty import shown_p_value

    return [
        f"{entry.axis}: {entry.group}",
        entry.label,
        f"{entry.with_label}/{entry.with_label + entry.without_label}",
        f"{entry.others_with_label}/{entry.others_with_label + entry.others_without_label}",
        entry.against,
        f"{entry.log_odds_ratio:+.2f}",
        f"{entry.low:+.2f} to {entry.high:+.2f}",
        shown_p_value(entry.p_adjusted),
    ]


def _show_swaps(swaps: SwapReport, swapped_in: str, left_out: int) -> None:
    drawn = f" ({left_out} more were not drawn: --most-swaps)" if left_out else ""
    say(f"{swaps.texts} {swapped_in} classified as they are and with groups exchanged{drawn}:")
    shown = [rate for rate in swaps.rates if rate.from_group is None or rate.flips]
    columns = ["exchanged", "swaps", "label changed", "rate", "95 % interval", "mean change of probabilities"]
    show_table(columns, [_swap_row(rate) for rate in shown[:_MOST_ROWS]])
    if len(shown) > _MOST_ROWS:
        say(f"and {len(shown) - _MOST_ROWS} more pairs")
    for flip in swaps.examples:
        say(f"  {_short(flip.text)}: {flip.label}\n  {_short(flip.rewritten)}: {flip.rewritten_label}")
    if swaps.examples:
        say("A swap can break a sentence (her becomes his, never him): read these before you blame the classifier.")


def _swap_row(rate: SwapRate) -> list[str]:
    pair = f"{rate.axis}, all" if rate.from_group is None else f"{rate.axis}: {rate.from_group} to {rate.to_group}"
    numbers = [str(rate.swaps), str(rate.flips), f"{rate.flip_rate:.1%}", f"{rate.low:.1%} to {rate.high:.1%}"]
    return [pair, *numbers, f"{rate.mean_distance:.3f}"]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
