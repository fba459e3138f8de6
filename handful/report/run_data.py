"""What a run published, read back for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from handful.calibration import label_probabilities
from handful.errors import RunError
from handful.reading.wording import short
from handful.records import Candidate, Record, TrainingExample, Verdict
from handful.report.wording import arithmetic
from handful.run import is_plain_name, read_jsonl, read_manifest
from handful.run_status import current_results, read_timings
from handful.storage.jsonl import read_json
from handful.task import Task


@dataclass(frozen=True)
class Answers:
    """One method's answers to the test texts, in their order."""

    gold: tuple[str, ...]
    predicted: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    """In the order of the task's labels."""

    @property
    def right(self) -> list[bool]:
        """Whether each answer is the true label."""
        return [a == b for a, b in zip(self.gold, self.predicted, strict=True)]

    @property
    def confidences(self) -> list[float]:
        """The probability of each answer."""
        return [max(row) for row in self.probabilities]


@dataclass(frozen=True)
class RunData:
    """Everything the report is made from."""

    task: Task
    recipe: Mapping[str, Any]
    """Nested mappings, as in the manifest."""
    seed: int
    model: str
    candidates: Sequence[Candidate]
    verdicts: Sequence[Verdict]
    training: Sequence[TrainingExample] = ()
    results: Mapping[str, Any] | None = None
    """See `evaluate_methods`."""
    answers: Mapping[str, Answers] | None = None
    """By method; None if nothing was measured."""
    timings: Mapping[str, Any] | None = None
    arithmetic: str = ""
    """See `wording.arithmetic`."""
    has_classifier: bool = True
    """False in the draws of a benchmark: it keeps the answers of its classifiers alone."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.task.label_names

    @property
    def judged(self) -> list[tuple[Candidate, Verdict]]:
        """Candidates that have a verdict, with it."""
        verdicts = {verdict.candidate_id: verdict for verdict in self.verdicts}
        return [(candidate, verdicts[candidate.id]) for candidate in self.candidates if candidate.id in verdicts]

    @property
    def written(self) -> list[TrainingExample]:
        """The written texts that were trained on."""
        return [row for row in self.training if row.source == "synthetic"]


def read_run(directory: Path) -> RunData:
    """Read what a run published so far.

    Raises:
        RunError: Not a run directory, nothing to tell of yet, or a file in it is damaged.
    """
    identity = read_manifest(directory)["identity"]
    saved = read_json(directory / "task.json")
    if saved is None or not (directory / "verdicts.jsonl").is_file():
        missing = "task.json" if saved is None else "verdicts.jsonl"
        mend = "Give the run's command again: it goes on where it stopped, and what is done is not done again."
        raise RunError(f"nothing to report on yet: there is no {missing}", where=str(directory), mend=mend)
    task = Task.from_dict(saved)
    results = current_results(directory)
    try:
        recipe = identity["recipe"]
        return RunData(
            task=task,
            recipe=recipe,
            seed=identity["seed"],
            model=identity["model"],
            arithmetic=arithmetic(identity),
            candidates=_records(Candidate, directory / "candidates.jsonl"),
            verdicts=_records(Verdict, directory / "verdicts.jsonl"),
            training=_records(TrainingExample, directory / "training.jsonl"),
            results=results,
            answers=None if results is None else _answers(directory, results),
            timings=read_timings(directory),
            has_classifier=(directory / "adapter").is_dir(),
        )
    except (KeyError, TypeError, ValueError) as error:
        mend = "Was it written by another version of handful? Give the run's command again."
        raise RunError(
            f"the files of this run cannot be understood: {error!r}", where=str(directory), mend=mend
        ) from None


Known = TypeVar("Known", bound=Record)


def _records(kind: type[Known], path: Path) -> tuple[Known, ...]:
    rows = read_jsonl(path) if path.is_file() else []
    try:
        return tuple(map(kind.from_row, rows))
    except RunError as error:
        raise RunError(error.message, where=str(path), mend=error.mend) from None


def _answers(directory: Path, results: Mapping[str, Any]) -> dict[str, Answers]:
    names = [row["method"] for row in results["methods"]]
    foreign = [name for name in names if not is_plain_name(name)]
    if foreign:  # it would be read from another folder
        raise ValueError(f"{short(foreign[0])} is no method")
    paths = {name: directory / "predictions" / f"{name}.jsonl" for name in names}
    shifts = {row["method"]: row["shift"] for row in results["methods"]}
    return {name: _one_method(read_jsonl(path), shifts[name]) for name, path in paths.items() if path.is_file()}


def _one_method(rows: Sequence[Mapping[str, Any]], shift: Sequence[float] | None) -> Answers:
    probabilities = label_probabilities([row["log_probs"] for row in rows], shift)
    return Answers(
        gold=tuple(row["label"] for row in rows),
        predicted=tuple(row["predicted"] for row in rows),
        probabilities=tuple(tuple(map(float, row)) for row in probabilities),
    )
