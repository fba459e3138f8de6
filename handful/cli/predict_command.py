"""`handful predict`: texts in, labels and probabilities out."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from handful.cli.console import plain_json, tell, tell_warning
from handful.cli.options import DeviceChoice, DtypeChoice, PrecisionChoice, takes
from handful.cli.stopping import stopping_gently
from handful.cli.watching import watching

if TYPE_CHECKING:
    from handful.classifier import Classifier
    from handful.cli.stopping import StopRequest
    from handful.cli.watching import Watch
    from handful.prediction_files import Rows, RowsWritten

_COMPARED_TEXTS = 200
"""First texts that are labelled in full precision too, where less of it is asked for."""
_LEAST_AGREEMENT = 0.99
InputFormat = Literal["csv", "tsv", "jsonl", "parquet"]
OutputChoice = Literal["csv", "tsv", "jsonl"]


@dataclass(frozen=True)
class PredictOptions:
    """Which classifier, which texts, where to."""

    classifier: Annotated[Path, typer.Argument(help="A classifier directory, or the run directory that holds it.")]
    source: Annotated[str, typer.Argument(metavar="INPUT|-", help="CSV, TSV, JSONL or Parquet; - reads stdin.")]
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV, TSV or JSONL by its ending (default: stdout).")
    ] = None
    input_format: Annotated[
        InputFormat | None,
        typer.Option("--format", help="How the input is written (default: by its ending, else by its first line)."),
    ] = None
    output_format: Annotated[
        OutputChoice | None, typer.Option(help="How predictions are written (default: by the ending; else jsonl).")
    ] = None
    text_column: Annotated[str, typer.Option(help="Column of the text.")] = "text"
    id_column: Annotated[str | None, typer.Option(help="Column of the id (default: the line number).")] = None
    force: Annotated[
        bool, typer.Option("--force", help="Begin a stopped prediction anew; replace a file that holds none.")
    ] = False
    base_model: Annotated[str | None, typer.Option(help="Where the base model is now, if it has moved.")] = None
    device: Annotated[DeviceChoice, typer.Option(help="Where the model runs.")] = "auto"
    dtype: Annotated[DtypeChoice, typer.Option(help="Float type of the weights.")] = "auto"
    load_in_4bit: Annotated[bool, typer.Option("--load-in-4bit", help="Quantise the base model (bitsandbytes).")] = (
        False
    )
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Of matrix products on a CPU; what less of it costs is measured and said.")
    ] = "float32"


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("predict")(_predict)


@takes(PredictOptions)
def _predict(options: PredictOptions) -> None:
    """Label a file of texts, of any length."""
    from handful.classifier import Classifier
    from handful.prediction_files import classifier_directory
    from handful.reading.readers import iter_texts

    _check_output(options)
    directory = classifier_directory(options.classifier)
    rows = iter_texts(
        options.source, text_column=options.text_column, id_column=options.id_column, format=options.input_format
    )
    rows = _first_checked(rows)
    load = functools.partial(
        Classifier.load,
        directory,
        base_model=options.base_model,
        device=options.device,
        dtype=options.dtype,
        load_in_4bit=options.load_in_4bit,
    )
    classifier = load(precision=options.precision)
    if options.precision != "float32":
        first = list(itertools.islice(rows, _COMPARED_TEXTS))
        rows = itertools.chain(first, rows)
        _say_agreement(options.precision, classifier, load(), [text for _, text in first])
    with stopping_gently() as stop, watching(stop, as_json=False) as watch:
        watch.start("predict", None, "texts")
        tell_of_rows = functools.partial(_tell_of_rows, options, stop)
        written = _written(options, directory, classifier, rows, watch, tell_of_rows)
        watch.finish(f"{written.rows} texts")
    if written.cut:
        limit = classifier.spec.max_text_tokens
        tell_warning(f"{written.cut} of the texts were longer than {limit} tokens: their middle was left out")


def _tell_of_rows(options: PredictOptions, stop: StopRequest, rows: int) -> None:
    """Say that what was answered until a failure is kept; where the user stopped it, the whole command is shown."""
    if not stop.requested:
        again = "the same command without --force" if options.force else "the same command"
        tell(f"{rows:,} rows are answered and kept: {again} goes on behind them.")


def _say_agreement(precision: str, classifier: Classifier, exact: Classifier, texts: list[str]) -> None:
    if not texts:
        return
    agreement = classifier.agreement(exact, texts)
    tell(f"{precision}: the same label as in float32 on {agreement:.1%} of the first {len(texts)} texts")
    if agreement < _LEAST_AGREEMENT:
        tell_warning(
            f"less than {_LEAST_AGREEMENT:.0%} agree; leave out --precision for what the classifier was made as"
        )


def _first_checked(rows: Rows) -> Rows:
    """Read the first row at once: a missing file or column should not wait until the model is loaded."""
    first = next(rows, None)
    return iter(()) if first is None else itertools.chain([first], rows)


def _check_output(options: PredictOptions) -> None:
    from handful.cli.output_checks import check_output
    from handful.prediction_rows import output_format

    if options.output is not None:
        check_output(options.output, options.source, force=options.force)
        output_format(options.output, options.output_format)


def _written(
    options: PredictOptions,
    directory: Path,
    classifier: Classifier,
    rows: Rows,
    watch: Watch,
    on_kept: Callable[[int], None],
) -> RowsWritten:
    from handful.prediction_files import predict_to_file, predict_to_stream, prediction_identity
    from handful.prediction_rows import output_format

    written_as = output_format(options.output, options.output_format)
    if options.output is None:
        return predict_to_stream(classifier, rows, _write_to_stdout, written_as, watch)
    columns = (options.text_column, options.id_column, options.input_format, written_as)
    numbers = (options.base_model, options.device, options.dtype, options.load_in_4bit, options.precision)
    identity = prediction_identity(options.source, directory, *columns, *numbers)
    return predict_to_file(
        classifier, rows, options.output, written_as, identity, watch, anew=options.force, on_kept=on_kept
    )


def _write_to_stdout(data: bytes) -> None:
    if sys.stdout.isatty():  # what a program reads stays as it is
        data = plain_json(data.decode()).encode()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
