"""Texts in, a file of predictions out, chunk by chunk: a million rows need no more memory than a thousand."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

from handful.errors import AdapterError, DataError, RunError
from handful.progress import Progress, stop_if_asked
from handful.records import Prediction
from handful.run import fingerprint
from handful.storage.directories import SUMS
from handful.storage.files import explained, read_bytes
from handful.storage.manifest import MANIFEST, read_manifest
from handful.storage.outputs import atomic_lines

OutputFormat = Literal["csv", "tsv", "jsonl"]
_BY_SUFFIX: dict[str, OutputFormat] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
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
class Written:
    """What a prediction came to."""

    rows: int
    cut: int
    """Texts whose middle was left out; of a resumed file, those since."""


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


def output_format(path: Path | None, asked: OutputFormat | None) -> OutputFormat:
    """Return how predictions are written: as asked, or by the ending of the file; JSON lines on stdout.

    Raises:
        DataError: The ending says nothing.
    """
    if asked is not None:
        return asked
    if path is None:
        return "jsonl"
    if path.suffix.lower() not in _BY_SUFFIX:
        raise DataError(
            f"predictions are not written to files ending in {path.suffix or 'nothing'}",
            where=str(path),
            mend=f"Name it {', '.join(_BY_SUFFIX)}, or pass --output-format.",
        )
    return _BY_SUFFIX[path.suffix.lower()]


def prediction_identity(source: Path, classifier: Path, *options: object) -> str:
    """Return the fingerprint of all that decides the rows of an output file, but for what its input holds.

    A row that stopped a prediction may be mended before it goes on: those before it are compared when they are skipped.

    Raises:
        RunError: The classifier cannot be read.
    """
    with explained(classifier):
        sums = hashlib.sha256(read_bytes(classifier / SUMS)).hexdigest()
    return fingerprint([str(source.absolute()), sums, list(options)])


def predict_to_file(
    predictor: Predictor,
    rows: Rows,
    path: Path,
    written_as: OutputFormat,
    identity: str,
    progress: Progress,
    *,
    resume: bool = False,
) -> Written:
    """Write predictions to a file that appears under its name when it is whole; see `atomic_lines`.

    Raises:
        HandfulError: A row is not usable, the disk is full, or what is to be resumed is of another input.
        Interrupted: The progress asked to stop; finished chunks are kept for `resume`.
    """
    cut, read = 0, _Read(rows)
    with atomic_lines(path, identity, header=header(predictor.labels, written_as), resume=resume) as writer:
        if writer.rows:
            skipped = sum(1 for _ in islice(read, writer.rows))
            if read.digest_of(skipped) != writer.input_digest:
                raise RunError(
                    f"the first {writer.rows:,} rows of the input are others than those that were answered",
                    where=str(writer.partial),
                    mend="Leave out --resume to start anew",
                )
            progress.skip(skipped)
        for chunk in predictor.predict_stream(read, on_progress=progress.advance):
            writer.commit(encode_predictions(chunk, written_as), len(chunk), read.digest_of(len(chunk)))
            cut += sum(prediction.cut for prediction in chunk)
            stop_if_asked(progress)
        return Written(writer.rows, cut)


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
) -> Written:
    """Hand the encoded predictions to `write`, a chunk at a time."""
    write(header(predictor.labels, written_as))
    count = cut = 0
    for chunk in predictor.predict_stream(rows, on_progress=progress.advance):
        write(encode_predictions(chunk, written_as))
        count += len(chunk)
        cut += sum(prediction.cut for prediction in chunk)
        stop_if_asked(progress)
    return Written(count, cut)


def header(labels: Sequence[str], written_as: OutputFormat) -> bytes:
    """Return what stands before the first row: the names of the columns, none in JSON lines."""
    if written_as == "jsonl":
        return b""
    columns = ["id", "label", "probability", *(f"p:{label}" for label in labels), "cut"]
    return _delimited([columns], written_as)


def encode_predictions(chunk: Sequence[Prediction], written_as: OutputFormat) -> bytes:
    """Return the lines of some predictions; every float reads back exactly."""
    if written_as == "jsonl":
        return "".join(json.dumps(_json_row(row), ensure_ascii=False) + "\n" for row in chunk).encode()
    return _delimited([_cells(row) for row in chunk], written_as)


def _json_row(row: Prediction) -> dict[str, object]:
    return {
        "id": row.text_id,
        "label": row.label,
        "probability": row.probabilities[row.label],
        "probabilities": dict(row.probabilities),
        "cut": row.cut,
    }


def _cells(row: Prediction) -> list[str]:
    numbers = [repr(row.probabilities[row.label]), *map(repr, row.probabilities.values())]
    return [row.text_id, row.label, *numbers, "true" if row.cut else "false"]


def _delimited(rows: Sequence[Sequence[str]], written_as: OutputFormat) -> bytes:
    lines = io.StringIO(newline="")
    csv.writer(lines, delimiter="\t" if written_as == "tsv" else ",", lineterminator="\n").writerows(rows)
    return lines.getvalue().encode()
