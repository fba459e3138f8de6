"""What was written for one draw of examples, and how good it is: acceptance, the filter's precision, diversity."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handful.benchmark.draw import draw_directory
from handful.benchmark.plan import Cell
from handful.classifier import Classifier
from handful.evaluation.diversity import equal_length, measure_diversity, unique_ngrams
from handful.evaluation.filter_quality import Share, acceptance, filter_confusions, filter_precision
from handful.evaluation.methods import method_of
from handful.evaluation.words import content_counts, log_odds
from handful.progress import Progress
from handful.records import Candidate, Verdict
from handful.run import Run, read_jsonl
from handful.storage.directories import SUMS

_ORACLE = method_of("lora_real:full")
_MOST_REAL = 5000
_MOST_WORDS = 60
_DIFFERENCES = 10
_SIZES = (4, 10, 25, 50, 100, 200, 400)
"""Texts per label at which trigrams are counted (paper, figure 7)."""


def analysed(cell: Cell, run: Run, progress: Progress) -> list[dict[str, Any]]:
    """Return the row of a cell's draw, or none if nothing was written for it.

    The oracle is the classifier tuned on the whole training set, where the benchmark has one (`lora_real:full`).

    Returns:
        `task`, `seed`, `changes` of the recipe, counts, `acceptance` by label, `confusions` (intended by judged),
        `precision` by the oracle or None, `diversity` of the real texts, the candidates and the kept ones, `growth` of
        the trigrams with the number of texts, and, where the recipe is not changed, `words` by label.
    """
    directory = run.directory / draw_directory(cell)
    if not (directory / "verdicts.jsonl").is_file():
        return []
    candidates = [Candidate.from_row(row) for row in read_jsonl(directory / "candidates.jsonl")]
    verdicts = [Verdict.from_row(row) for row in read_jsonl(directory / "verdicts.jsonl")]
    labels = cell.task.label_names
    oracle = _oracle_labels(cell, candidates, verdicts, run, progress)
    return [
        {
            "task": cell.task.name,
            "seed": cell.seed,
            "changes": list(cell.writing_changes),
            "synthetic_per_label": cell.handful().recipe.generate.synthetic_per_label,
            "n_candidates": len(candidates),
            "n_judged": sum(bool(verdict.label_probabilities) for verdict in verdicts),
            "n_kept": sum(verdict.decision == "kept" for verdict in verdicts),
            "n_relabelled": sum(verdict.decision == "relabelled" for verdict in verdicts),
            "acceptance": {label: _row(share) for label, share in acceptance(candidates, verdicts, labels).items()},
            "confusions": filter_confusions(candidates, verdicts, labels),
            "precision": _precision(candidates, verdicts, oracle, labels),
            "diversity": _diversity(cell, candidates, verdicts),
            "growth": list(_growth(cell, candidates, verdicts)),
            "words": {} if cell.writing_changes else _words(cell, candidates, verdicts),
        }
    ]


def _oracle_labels(
    cell: Cell, candidates: Sequence[Candidate], verdicts: Sequence[Verdict], run: Run, progress: Progress
) -> dict[str, str] | None:
    first = dataclasses.replace(cell, method=_ORACLE, seed=cell.plan.seeds[0])
    adapter = run.directory / draw_directory(first) / "adapter"
    if all(method.key != _ORACLE.key for method in cell.plan.methods) or not adapter.is_dir():
        return None
    asked = [c for c, v in zip(candidates, verdicts, strict=True) if v.label_probabilities]

    def work() -> list[dict[str, Any]]:
        progress.start(f"oracle: {cell.task.name}, seed {cell.seed}", len(asked), "texts")
        labels = Classifier.tuned_by(cell.plan.engine, adapter).predict([candidate.text for candidate in asked])
        progress.advance(len(asked))
        progress.finish(f"{len(asked)} candidates labelled")
        return [{"id": candidate.id, "label": label} for candidate, label in zip(asked, labels, strict=True)]

    inputs = [[[c.id, c.text] for c in asked], (adapter / SUMS).read_text()]
    return {row["id"]: row["label"] for row in run.step("oracle-labels", inputs, work)}


def _precision(
    candidates: Sequence[Candidate],
    verdicts: Sequence[Verdict],
    oracle: Mapping[str, str] | None,
    labels: Sequence[str],
) -> dict[str, Any] | None:
    if oracle is None:
        return None
    found = filter_precision(candidates, verdicts, oracle, labels)
    by_label = {label: {"before": _row(b), "after": _row(a)} for label, (b, a) in found.by_label.items()}
    totals = {"before": found.before, "after": found.after, "relabelled": found.relabelled}
    return {**{name: _row(share) for name, share in totals.items()}, "by_label": by_label}


def _diversity(cell: Cell, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    examples = [example.text for example in cell.handful().task.examples]
    judged = [c.text for c, v in zip(candidates, verdicts, strict=True) if v.label_probabilities]
    kept = [c.text for c, v in zip(candidates, verdicts, strict=True) if v.decision != "rejected"]
    real = [example.text for example in cell.task.examples if example.text not in set(examples)]
    groups = {"real": real or examples, "candidates": judged, "kept": kept}
    alike = equal_length({name: texts for name, texts in groups.items() if texts}, cell.seed)
    return {
        name: dataclasses.asdict(measure_diversity(texts, examples, cell.seed))
        for name, texts in alike.items()
        if texts
    }


def _growth(cell: Cell, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> Iterator[dict[str, Any]]:
    """Yield a row per size: different trigrams in the first so many kept texts of each label, and in real ones."""
    shown = {example.text for example in cell.handful().task.examples}
    groups: dict[str, dict[str, list[str]]] = {"real": defaultdict(list), "kept": defaultdict(list)}
    for example in cell.task.examples:
        if example.text not in shown:
            groups["real"][example.label].append(example.text)
    for candidate, verdict in zip(candidates, verdicts, strict=True):
        if verdict.decision != "rejected":
            groups["kept"][verdict.label].append(candidate.text)
    most = cell.handful().recipe.generate.synthetic_per_label
    for size in (*(size for size in _SIZES if size < most), most):
        texts = {name: [text for own in of.values() for text in own[:size]] for name, of in groups.items()}
        alike = equal_length({name: own for name, own in texts.items() if own}, cell.seed)
        yield {"texts_per_label": size, **{name: unique_ngrams(own, 3) for name, own in alike.items()}}


def _words(cell: Cell, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return by label the commonest content words of the training set's texts and of the kept ones, with counts."""
    found = {}
    for label in cell.task.label_names:
        real = [example.text for example in cell.task.examples if example.label == label][:_MOST_REAL]
        kept = [
            c.text for c, v in zip(candidates, verdicts, strict=True) if v.decision != "rejected" and v.label == label
        ]
        counts = {name: content_counts(texts) for name, texts in (("real", real), ("kept", kept))}
        differences = log_odds(counts["kept"], counts["real"])
        found[label] = {
            **{name: dict(counter.most_common(_MOST_WORDS)) for name, counter in counts.items()},
            "more_in_kept": [dataclasses.asdict(entry) for entry in differences[:_DIFFERENCES] if entry.z > 0],
            "more_in_real": [
                dataclasses.asdict(entry) for entry in differences[: -_DIFFERENCES - 1 : -1] if entry.z < 0
            ],
        }
    return found


def _row(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"hits": share.hits, "total": share.total, "share": share.value, "low": low, "high": high}
