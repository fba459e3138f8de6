"""Texts in, a file of predictions out, chunk by chunk: a million rows need no more memory than a thousand."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from handful.errors import AdapterError, RunError
from handful.prediction_rows import OutputFormat, encode_predictions, first_formula, header
from handful.progress import Progress, stop_if_asked
from handful.reading.wording import short
from handful.records import Prediction
from handful.run import fingerprint
from handful.storage.directories import SUMS
from handful.storage.files import explained, read_bytes
from handful.storage.manifest import MANIFEST, read_manifest
from handful.storage.outputs import ANEW, LineWriter, atomic_lines

Rows = Iterator[tuple[str, str]]


class Predictor(Protocol):
    """What answers; `Classifier` does."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in order."""
        ...

    def predict_stream(
        self, rows: Rows, *, on_progress: Callable[[int], None] | None = None
    ) -> Iterator[list[Prediction]]:
        """Answer `(id, text)` pairs chunk by chunk."""
        ...


@dataclass(frozen=True)
class RowsWritten:
    """What a prediction came to."""

    rows: int
    cut: int
    """Texts whose middle was left out; of a file that was gone on with, those since."""


def classifier_directory(path: Path) -> Path:
    """Return the classifier directory of a path that is one, or is a run directory that holds one.

    Raises:
        AdapterError: The run has no classifier yet, or is a benchmark.
    """
    if not (path / MANIFEST).is_file():
        return path
    if not (path / "adapter").is_dir() and "benchmark" in read_manifest(path)["identity"]:
        mend = "Make a classifier with `handful run`."
        raise AdapterError("a benchmark or estimate keeps no classifier", where=str(path), mend=mend)
    if not (path / "adapter").is_dir():
        mend = "Give the run's command again; it goes on where it stopped."
        raise AdapterError("this run has no classifier yet", where=str(path), mend=mend)
    return path / "adapter"


def prediction_identity(source: str, classifier: Path, *options: object) -> str:
    """Return the fingerprint of all that decides the rows of an output file, but for what its input holds.

    A row that stopped a prediction may be mended before it goes on: those before it are compared when they are skipped.

    Args:
        source: The path of the input, or `"-"` for standard input.
        classifier: The classifier directory.
        options: Whatever else decides the rows.

    Raises:
        RunError: The classifier cannot be read.
    """
    with explained(classifier):
        sums = hashlib.sha256(read_bytes(classifier / SUMS)).hexdigest()
    return fingerprint([source if source == "-" else str(Path(source).absolute()), sums, list(options)])


def predict_to_file(
    predictor: Predictor,
    rows: Rows,
    path: Path,
    written_as: OutputFormat,
    identity: str,
    progress: Progress,
    *,
    anew: bool = False,
    on_kept: Callable[[int], None] | None = None,
) -> RowsWritten:
    """Write predictions to a file that appears under its name when it is whole; see `atomic_lines`.

    Args:
        predictor: What answers.
        rows: The texts with their ids; those that were answered before are skipped.
        path: The file.
        written_as: How it is written.
        identity: See `prediction_identity`.
        progress: Hears how far it is.
        anew: Begin anew, whatever rows wait.
        on_kept: Told how many rows the next call goes on behind, where something stops this one.

    Raises:
        HandfulError: A row is not usable, the disk is full, or the rows that wait are of another input.
        Interrupted: The progress asked to stop; finished chunks are kept.
    """
    cut, read = 0, _Read(rows)
    with atomic_lines(path, identity, header=header(predictor.labels, written_as), anew=anew) as writer:
        _skip_answered(read, writer, progress)
        try:
            for lines, chunk in _answers(predictor, read, written_as, progress):
                writer.commit(lines, len(chunk), read.digest_of(len(chunk)))
                cut += sum(prediction.cut for prediction in chunk)
                stop_if_asked(progress)
        except BaseException:
            if on_kept is not None and writer.rows:
                on_kept(writer.rows)
            raise
        return RowsWritten(writer.rows, cut)


def _skip_answered(read: _Read, writer: LineWriter, progress: Progress) -> None:
    if not writer.rows:
        return
    skipped = sum(1 for _ in islice(read, writer.rows))
    if read.digest_of(skipped) != writer.input_digest:
        message = f"the first {writer.rows:,} rows of the input are others than those that were answered"
        raise RunError(message, where=str(writer.partial), mend=ANEW)
    progress.skip(skipped)


def _answers(
    predictor: Predictor, rows: Rows, written_as: OutputFormat, progress: Progress
) -> Iterator[tuple[bytes, list[Prediction]]]:
    """Yield the lines and predictions of each chunk; what a spreadsheet would compute is warned of once."""
    watches = written_as != "jsonl"
    for chunk in predictor.predict_stream(rows, on_progress=progress.advance):
        formula = first_formula(chunk) if watches else None
        if formula is not None:
            watches = False
            progress.warn(f"the id or label {short(formula)} is a formula to spreadsheets: import that column as text")
        yield encode_predictions(chunk, written_as), chunk


class _Read:
    """Rows as they are read, with what identifies all up to each: they are answered later, chunk by chunk."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._hash = hashlib.sha256()
        self._digests: deque[str] = deque()

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> tuple[str, str]:
        row = next(self._rows)
        self._hash.update(json.dumps(row).encode())
        self._digests.append(self._hash.hexdigest())
        return row

    def digest_of(self, count: int) -> str:
        """Return what identifies all rows up to the end of the next `count`."""
        digest = ""
        for _ in range(count):
            digest = self._digests.popleft()
        return digest


def predict_to_stream(
    predictor: Predictor, rows: Rows, write: Callable[[bytes], object], written_as: OutputFormat, progress: Progress
) -> RowsWritten:
    """Hand the encoded predictions to `write`, a chunk at a time."""
    write(header(predictor.labels, written_as))
    count = cut = 0
    for lines, chunk in _answers(predictor, rows, written_as, progress):
        write(lines)
        count += len(chunk)
        cut += sum(prediction.cut for prediction in chunk)
        stop_if_asked(progress)
    return RowsWritten(count, cut)
