"""How well the filter worked: whom it lets through, what it mixes up, and how often it is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from handful.evaluation.metrics import wilson_interval
from handful.records import Candidate, Verdict

_OVERLAP_SHARE, _OVERLAP_TEXTS = 0.25, 5


@dataclass(frozen=True)
class Share:
    """A share with its counts and 95 % Wilson interval."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0 of nothing."""
        return self.hits / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Its interval; all of [0, 1] for nothing."""
        return wilson_interval(self.hits, self.total) if self.total else (0.0, 1.0)


@dataclass(frozen=True)
class Overlap:
    """Texts asked for one label that the model takes for another: the two may mean the same to it."""

    intended: str
    judged: str
    share: Share
    """Of the judged candidates of `intended`."""


@dataclass(frozen=True)
class FilterPrecision:
    """How many candidates have the label they were asked for, by an oracle (paper, section 5.3)."""

    before: Share
    """Of all candidates that passed screening."""
    after: Share
    """Of those the filter kept under the label they were asked for."""
    relabelled: Share
    """Of those kept under another label: how many have that one."""
    by_label: Mapping[str, tuple[Share, Share]]
    """Before and after, by label."""


def acceptance(candidates: Sequence[Candidate], verdicts: Sequence[Verdict], labels: Sequence[str]) -> dict[str, Share]:
    """Return per label the share of the judged candidates that was kept under the label they were asked for."""
    judged = [(c, v) for c, v in zip(candidates, verdicts, strict=True) if v.label_probabilities]
    return {
        label: Share(
            sum(v.decision == "kept" for c, v in judged if c.intended_label == label),
            sum(c.intended_label == label for c, _ in judged),
        )
        for label in labels
    }


def filter_confusions(
    candidates: Sequence[Candidate], verdicts: Sequence[Verdict], labels: Sequence[str]
) -> list[list[int]]:
    """Return how often a candidate asked for each label (row) was judged to be of each label (column)."""
    places = {label: index for index, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for candidate, verdict in zip(candidates, verdicts, strict=True):
        if verdict.label_probabilities:
            row = verdict.label_probabilities
            counts[places[candidate.intended_label]][max(range(len(row)), key=row.__getitem__)] += 1
    return counts


def overlaps(candidates: Sequence[Candidate], verdicts: Sequence[Verdict], labels: Sequence[str]) -> list[Overlap]:
    """Return the pairs of labels that the filter mixes up most, the largest share first.

    A pair is named if a quarter of the judged candidates of one label is taken for the other, and at least five.
    """
    found = []
    for intended, row in zip(labels, filter_confusions(candidates, verdicts, labels), strict=True):
        total = sum(row)
        for judged, count in zip(labels, row, strict=True):
            if judged != intended and count >= max(_OVERLAP_TEXTS, _OVERLAP_SHARE * total):
                found.append(Overlap(intended, judged, Share(count, total)))
    return sorted(found, key=lambda overlap: -overlap.share.value)


def filter_precision(
    candidates: Sequence[Candidate], verdicts: Sequence[Verdict], oracle: Mapping[str, str], labels: Sequence[str]
) -> FilterPrecision:
    """Measure the filter by an oracle's labels.

    Args:
        candidates: All of them.
        verdicts: Theirs, in the same order.
        oracle: The oracle's label by candidate id, for all that passed screening.
        labels: The task's.
    """
    screened = [(c, v) for c, v in zip(candidates, verdicts, strict=True) if c.id in oracle]
    by_label = {}
    for label in labels:
        asked = [c for c, _ in screened if c.intended_label == label]
        kept = [c for c, v in screened if v.decision == "kept" and v.label == label]
        before, after = (Share(sum(oracle[c.id] == label for c in group), len(group)) for group in (asked, kept))
        by_label[label] = (before, after)
    moved = [(c, v) for c, v in screened if v.decision == "relabelled"]
    return FilterPrecision(
        before=_total([before for before, _ in by_label.values()]),
        after=_total([after for _, after in by_label.values()]),
        relabelled=Share(sum(oracle[c.id] == v.label for c, v in moved), len(moved)),
        by_label=by_label,
    )


def _total(shares: Sequence[Share]) -> Share:
    return Share(sum(share.hits for share in shares), sum(share.total for share in shares))
