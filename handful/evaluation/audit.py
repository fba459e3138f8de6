"""The audit of a run: how varied its texts are, what sets real and synthetic apart, and whether labels go with groups.

It is the bias check that the ethics section of Patwa et al. 2024 asks for; `swaps.py` adds what the classifier answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from handful.errors import RunError, TaskError
from handful.evaluation.bias import LEVEL, Association, associations
from handful.evaluation.diversity import Diversity, equal_length, fewest_texts, measure_diversity
from handful.evaluation.mentions import Lexicon
from handful.evaluation.swaps import SwapReport
from handful.evaluation.words import CLEAR_Z, WordDifference, content_words, log_odds
from handful.reading.wording import short
from handful.records import Example, TrainingExample
from handful.run import read_jsonl, read_manifest
from handful.storage.jsonl import read_json
from handful.storage.manifest import MANIFEST
from handful.task import Task

NOTE = (
    "This audit reports what lists of words find; it certifies nothing. A group no list names, or a term that means "
    "something else in its sentence, is not seen. Read the texts before you conclude anything."
)
_MOST_WORDS = 10


@dataclass(frozen=True)
class AuditedTexts:
    """The labelled texts an audit looks at."""

    task: str
    labels: tuple[str, ...]
    real: tuple[Example, ...]
    synthetic: tuple[Example, ...] | None = None
    """None where only a task is audited."""
    seed: int = 0
    """Of the run; draws the samples that diversity is measured on."""
    test: tuple[Example, ...] = ()
    """Real texts that nothing was tuned on, where the task has them."""


@dataclass(frozen=True)
class SourceAudit:
    """What was found in the real, the synthetic or the test texts by themselves."""

    n_texts: int
    diversity: Diversity
    """Of all of them: not to be compared between sets of different size."""
    diversity_equal_length: Diversity | None
    """Of as many words of both; None where there is nothing to compare with."""
    mentions: Mapping[str, Mapping[str, int]]
    """Texts that mention each group, by axis and group."""
    comparisons: int
    """How many associations were measured."""
    expected_by_chance: float
    """How many of them would exclude 0 if no label went with any group."""
    associations: tuple[Association, ...]


@dataclass(frozen=True)
class Audit:
    """The whole report; `dataclasses.asdict` makes it JSON-ready."""

    task: str
    note: str
    real: SourceAudit
    synthetic: SourceAudit | None
    synthetic_words: tuple[WordDifference, ...]
    """Words that set the synthetic texts apart (z of at least 1.96), at most ten, the clearest first. English function
    words are left out."""
    real_words: tuple[WordDifference, ...]
    """Words that set the real texts apart; log-odds and z are negative."""
    test: SourceAudit | None = None
    """None where the task has no test texts."""
    swaps: SwapReport | None = None
    swapped_in: str = ""
    """Which texts they were made in."""
    swaps_left_out: int = 0
    """Swaps beyond the limit that were not drawn."""
    swaps_skipped: str = ""
    """Why there are none, as a sentence."""


def texts_of_run(directory: Path) -> AuditedTexts:
    """Read the texts a run trains on, the task's examples and the synthetic ones that were kept, and its test texts.

    Examples and labels are read from training.jsonl, which holds every example of the run.

    Raises:
        RunError: Not a run directory, or writing and checking are not done, or a file is damaged.
    """
    identity = read_manifest(directory)["identity"]
    seed = identity.get("seed", 0)
    if not isinstance(seed, int):
        mend = "Was it written by another version of handful? Begin the run anew, in another directory."
        raise RunError(f"the seed is {short(seed)}, not a number", where=str(directory / MANIFEST), mend=mend)
    path = directory / "training.jsonl"
    if not path.is_file():
        mend = "Give the run's command again, or audit its task file: that looks at the examples alone."
        raise RunError("no training.jsonl: writing and checking are not done", where=str(directory), mend=mend)
    rows = _training_rows(path)
    sources: dict[str, list[Example]] = {"real": [], "synthetic": []}
    for row in rows:
        sources[row.source].append(Example(row.text, row.label))
    return AuditedTexts(
        task=str(identity.get("task_name", directory.name)),
        labels=tuple(dict.fromkeys(row.label for row in rows)),
        real=tuple(sources["real"]),
        synthetic=tuple(sources["synthetic"]),
        seed=seed,
        test=_test_texts(directory / "task.json", {row.label for row in rows}),
    )


def _test_texts(path: Path, labels: Collection[str]) -> tuple[Example, ...]:
    saved = read_json(path)
    try:
        found = () if saved is None else Task.from_dict(saved).test or ()
        if all(entry.label in labels for entry in found):
            return found
    except (TaskError, RunError, ValueError, AttributeError):
        pass
    raise _damaged(path)


def _training_rows(path: Path) -> list[TrainingExample]:
    saved = read_jsonl(path)
    try:
        rows = [TrainingExample.from_row(row) for row in saved]
    except RunError:
        raise _damaged(path) from None
    if "real" not in {row.source for row in rows}:
        raise _damaged(path)
    return rows


def _damaged(path: Path) -> RunError:
    mend = "Delete it and give the run's command again; it is written anew."
    return RunError("damaged", where=str(path), mend=mend)


def texts_of_task(task: Task) -> AuditedTexts:
    """Return the examples of a task, to be audited by themselves."""
    return AuditedTexts(task.name, task.label_names, task.examples, test=task.test or ())


def audit_texts(texts: AuditedTexts, lexicons: Sequence[Lexicon]) -> Audit:
    """Measure everything that needs no classifier.

    Args:
        texts: What to audit.
        lexicons: The axes to look along.
    """
    real = [example.text for example in texts.real]
    test = _source(texts, texts.test, lexicons, (), None) if texts.test else None
    if not texts.synthetic:
        return Audit(texts.task, NOTE, _source(texts, texts.real, lexicons, (), None), None, (), (), test)
    synthetic = [example.text for example in texts.synthetic]
    cut = equal_length({"real": real, "synthetic": synthetic}, texts.seed)
    fewest, differences = fewest_texts(cut), log_odds(_counts(synthetic), _counts(real))
    return Audit(
        task=texts.task,
        note=NOTE,
        real=_source(texts, texts.real, lexicons, (), cut["real"], fewest),
        synthetic=_source(texts, texts.synthetic, lexicons, real, cut["synthetic"], fewest),
        synthetic_words=tuple(entry for entry in differences if entry.z >= CLEAR_Z)[:_MOST_WORDS],
        real_words=tuple(entry for entry in reversed(differences) if entry.z <= -CLEAR_Z)[:_MOST_WORDS],
        test=test,
    )


def _source(
    texts: AuditedTexts,
    examples: Sequence[Example],
    lexicons: Sequence[Lexicon],
    references: Sequence[str],
    cut: Sequence[str] | None,
    bleu_texts: int = 0,
) -> SourceAudit:
    own = [example.text for example in examples]
    found = associations(examples, lexicons, texts.labels)
    return SourceAudit(
        n_texts=len(own),
        diversity=measure_diversity(own, references, texts.seed),
        diversity_equal_length=None if cut is None else measure_diversity(cut, references, texts.seed, bleu_texts),
        mentions={lexicon.axis.name: _mentions(own, lexicon) for lexicon in lexicons},
        comparisons=len(found),
        expected_by_chance=LEVEL * len(found),
        associations=tuple(found),
    )


def _mentions(texts: Sequence[str], lexicon: Lexicon) -> dict[str, int]:
    counts = Counter(name for text in texts for name in lexicon.groups_in(text))
    return {group.name: counts[group.name] for group in lexicon.axis.groups}


def _counts(texts: Sequence[str]) -> Counter[str]:
    return Counter(word for text in texts for word in content_words(text))
