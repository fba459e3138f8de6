"""What was written for one draw of examples, and how good it is: acceptance, the filter's precision, diversity."""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from handful.benchmark.draw import draw_directory, oracle_directory
from handful.benchmark.plan import Cell
from handful.classifier import Classifier
from handful.evaluation.diversity import (
    equal_length,
    fewest_texts,
    first_texts,
    measure_diversity,
    total_words,
    unique_ngrams,
)
from handful.evaluation.filter_quality import Share, acceptance, filter_confusions, filter_precision
from handful.evaluation.methods import ORACLE
from handful.evaluation.words import CLEAR_Z, content_counts, log_odds
from handful.progress import Progress
from handful.records import Candidate, Verdict
from handful.run import Run, read_jsonl
from handful.storage.directories import SUMS

_MOST_REAL = 5000
_MOST_WORDS = 60
_DIFFERENCES = 10
_SIZES = (4, 10, 25, 50, 100, 200, 400)
"""Texts per label at which trigrams are counted (paper, figure 7)."""


@dataclass(frozen=True)
class _WrittenDraw:
    """A draw with what was written for it."""

    cell: Cell
    candidates: Sequence[Candidate]
    verdicts: Sequence[Verdict]

    @cached_property
    def real(self) -> list[tuple[str, str]]:
        """Real texts with their labels that the LLM was not shown: the other examples, and the test texts."""
        shown = {example.text for example in self.cell.handful().task.examples}
        every = (*self.cell.task.examples, *(self.cell.task.test or ()))
        return [(example.text, example.label) for example in every if example.text not in shown]

    @cached_property
    def kept(self) -> list[tuple[str, str]]:
        """Kept texts with the label they were kept under, in the order in which they are learnt from."""
        pairs = sorted(zip(self.candidates, self.verdicts, strict=True), key=lambda pair: pair[0].turn)
        return [(candidate.text, verdict.label) for candidate, verdict in pairs if verdict.decision != "rejected"]

    @property
    def groups(self) -> dict[str, list[str]]:
        """The texts that are compared."""
        pairs = zip(self.candidates, self.verdicts, strict=True)
        judged = [candidate.text for candidate, verdict in pairs if verdict.label_probabilities]
        groups = {
            "real": [text for text, _ in self.real],
            "candidates": judged,
            "kept": [text for text, _ in self.kept],
        }
        return {name: texts for name, texts in groups.items() if texts}


def analysed(cells: Sequence[Cell], run: Run, progress: Progress) -> list[dict[str, Any]]:
    """Return a row per draw that was written for; of each a cell is given.

    The oracle is the classifier tuned on the whole training set, where the benchmark has one (`lora_real:full`).
    Diversity is measured on the same number of words in all draws of a task, self-BLEU of the same number of texts.

    Returns:
        `task`, `seed`, `changes` of the recipe, counts, `acceptance` by label, `confusions` (intended by judged),
        `precision` by the oracle or None, `diversity` of the real texts, the candidates and the kept ones, `growth` of
        the trigrams with the number of texts, and, where the recipe is not changed, `words` by label.
    """
    draws = [draw for draw in (_read(cell, run) for cell in cells) if draw is not None]
    n_words: dict[str, int] = {}
    for draw in draws:
        lengths = [length for length in map(total_words, draw.groups.values()) if length]
        n_words[draw.cell.task.name] = min([*lengths, n_words.get(draw.cell.task.name, sys.maxsize)])
    alike = [equal_length(draw.groups, draw.cell.seed, n_words[draw.cell.task.name]) for draw in draws]
    bleu_texts: dict[str, int] = {}
    for draw, groups in zip(draws, alike, strict=True):
        task = draw.cell.task.name
        bleu_texts[task] = min(fewest_texts(groups), bleu_texts.get(task, sys.maxsize))
    return [
        _analysed(draw, _diversity(draw, groups, bleu_texts[draw.cell.task.name]), run, progress)
        for draw, groups in zip(draws, alike, strict=True)
    ]


def _read(cell: Cell, run: Run) -> _WrittenDraw | None:
    directory = run.directory / draw_directory(cell)
    if not (directory / "verdicts.jsonl").is_file():
        return None
    candidates = [Candidate.from_row(row) for row in read_jsonl(directory / "candidates.jsonl")]
    return _WrittenDraw(cell, candidates, [Verdict.from_row(row) for row in read_jsonl(directory / "verdicts.jsonl")])


def _analysed(draw: _WrittenDraw, diversity: dict[str, Any], run: Run, progress: Progress) -> dict[str, Any]:
    cell, candidates, verdicts = draw.cell, draw.candidates, draw.verdicts
    labels = cell.task.label_names
    oracle = _oracle_labels(cell, candidates, verdicts, run, progress)
    return {
        "task": cell.task.name,
        "seed": cell.seed,
        "changes": list(cell.handful_changes),
        "synthetic_per_label": cell.handful().recipe.generate.synthetic_per_label,
        "n_candidates": len(candidates),
        "n_judged": sum(bool(verdict.label_probabilities) for verdict in verdicts),
        "n_kept": sum(verdict.decision == "kept" for verdict in verdicts),
        "n_relabelled": sum(verdict.decision == "relabelled" for verdict in verdicts),
        "acceptance": {label: _row(share) for label, share in acceptance(candidates, verdicts, labels).items()},
        "confusions": filter_confusions(candidates, verdicts, labels),
        "precision": _precision(candidates, verdicts, oracle, labels),
        "diversity": diversity,
        "growth": list(_growth(draw)),
        "words": {} if cell.handful_changes else _words(draw),
    }


def _oracle_labels(
    cell: Cell, candidates: Sequence[Candidate], verdicts: Sequence[Verdict], run: Run, progress: Progress
) -> dict[str, str] | None:
    adapter = run.directory / oracle_directory(cell)
    if all(method.key != ORACLE.key for method in cell.plan.methods) or not adapter.is_dir():
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


def _diversity(draw: _WrittenDraw, alike: Mapping[str, Sequence[str]], bleu_texts: int) -> dict[str, Any]:
    examples = [example.text for example in draw.cell.handful().task.examples]
    return {
        name: dataclasses.asdict(measure_diversity(texts, examples, draw.cell.seed, bleu_texts))
        for name, texts in alike.items()
        if texts
    }


def _growth(draw: _WrittenDraw) -> Iterator[dict[str, Any]]:
    """Yield a row per size: different trigrams in the first so many kept texts of each label, and in real ones.

    These have as many words, their labels in turn; where there are fewer, the row is of the kept ones alone.
    """
    real, kept = _in_turn(_by_label(draw.real)), _by_label(draw.kept)
    most, real_words = draw.cell.handful().recipe.generate.synthetic_per_label, total_words(real)
    for size in (*(size for size in _SIZES if size < most), most):
        texts = [text for own in kept.values() for text in own[:size]]
        n_words = total_words(texts)
        row = {"texts_per_label": size, "kept": unique_ngrams(texts, 3)}
        if n_words <= real_words:
            row["real"] = unique_ngrams(first_texts(real, n_words), 3)
        yield row


def _in_turn(by_label: Mapping[str, Sequence[str]]) -> list[str]:
    return [text for turn in itertools.zip_longest(*by_label.values()) for text in turn if text is not None]


def _by_label(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for text, label in pairs:
        found[label].append(text)
    return found


def _words(draw: _WrittenDraw) -> dict[str, Any]:
    """Return by label the commonest content words of real texts, those shown to the LLM too, and of the kept ones."""
    found = {}
    task, kept = draw.cell.task, _by_label(draw.kept)
    everything = _by_label([(example.text, example.label) for example in (*task.examples, *(task.test or ()))])
    for label in draw.cell.task.label_names:
        texts = {"real": everything[label][:_MOST_REAL], "kept": kept[label]}
        counts = {name: content_counts(own) for name, own in texts.items()}
        differences = log_odds(counts["kept"], counts["real"])
        found[label] = {
            **{name: dict(counter.most_common(_MOST_WORDS)) for name, counter in counts.items()},
            "more_in_kept": [dataclasses.asdict(entry) for entry in differences[:_DIFFERENCES] if entry.z >= CLEAR_Z],
            "more_in_real": [
                dataclasses.asdict(entry) for entry in differences[: -_DIFFERENCES - 1 : -1] if entry.z <= -CLEAR_Z
            ],
        }
    return found


def _row(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"hits": share.hits, "total": share.total, "share": share.value, "low": low, "high": high}
