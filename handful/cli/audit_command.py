"""`handful audit`: what the texts of a run say about groups of people, and whether its classifier listens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from handful.cli.audit_tables import show_audit
from handful.cli.console import say, say_json, tell_warning
from handful.cli.options import DeviceChoice, DtypeChoice, takes
from handful.cli.stopping import stopping_gently
from handful.cli.watching import watching
from handful.errors import DataError, Interrupted, RunError

if TYPE_CHECKING:
    from handful.evaluation.audit import Audit, AuditedTexts
    from handful.evaluation.mentions import Lexicon
    from handful.evaluation.swaps import Swap, SwapReport


@dataclass(frozen=True)
class AuditOptions:
    """Which texts, which terms."""

    source: Annotated[
        Path, typer.Argument(metavar="RUN|TASK.yaml", help="A run directory; or a task file: its own texts alone.")
    ]
    terms: Annotated[
        Path | None, typer.Option(help="Your own list of terms (YAML), besides the shipped one (docs/audit.md).")
    ] = None
    only_own_terms: Annotated[bool, typer.Option("--only-own-terms", help="Leave out the shipped list.")] = False
    texts: Annotated[
        Path | None, typer.Option(help="Swap groups in these (CSV, TSV, JSONL, Parquet), not in the task's test texts.")
    ] = None
    text_column: Annotated[str, typer.Option(help="Column of the text in the file of --texts.")] = "text"
    most_swaps: Annotated[int, typer.Option(help="Swap at most so many texts per axis, a sample of them.", min=1)] = 400
    base_model: Annotated[str | None, typer.Option(help="Where the base model is now, if it has moved.")] = None
    device: Annotated[DeviceChoice, typer.Option(help="Where the model runs.")] = "auto"
    dtype: Annotated[DtypeChoice, typer.Option(help="Float type of the weights.")] = "auto"
    load_in_4bit: Annotated[bool, typer.Option("--load-in-4bit", help="Quantise the base model (bitsandbytes).")] = (
        False
    )
    as_json: Annotated[bool, typer.Option("--json", help="The whole report as one JSON object on stdout.")] = False


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("audit")(_audit)


@takes(AuditOptions)
def _audit(options: AuditOptions) -> None:
    """Report how texts, labels and the classifier go with groups of people; it certifies nothing."""
    from handful.evaluation.audit import audit_texts
    from handful.evaluation.mentions import Lexicon
    from handful.evaluation.terms import choose_terms

    if options.only_own_terms and options.terms is None:
        mend = "Name your own with --terms FILE."
        raise DataError("there is no list of terms", where="--only-own-terms", mend=mend)
    texts = _texts(options)
    lexicons = [Lexicon(axis) for axis in choose_terms(options.terms, only_own=options.only_own_terms)]
    further = _further_texts(options)
    audit = _with_swaps(options, texts, lexicons, further, audit_texts(texts, lexicons))
    report = asdict(audit)
    published = _published(options.source, report) if options.source.is_dir() else None
    if options.as_json:
        say_json(report)
        return
    show_audit(audit)
    if published:
        say(f"Everything: {published}")


def _texts(options: AuditOptions) -> AuditedTexts:
    from handful.evaluation.audit import texts_of_run, texts_of_task
    from handful.task import load_task

    if options.source.is_dir():
        return texts_of_run(options.source)
    task = load_task(options.source)
    for warning in task.warnings:
        tell_warning(warning)
    return texts_of_task(task)


def _further_texts(options: AuditOptions) -> list[str]:
    from handful.reading.readers import iter_texts

    if options.texts is None:
        return []
    found = [text for _, text in iter_texts(options.texts, text_column=options.text_column)]
    if not found:
        raise DataError("there is no text in it", where=str(options.texts), mend="Leave out --texts, or add texts.")
    return found


def _with_swaps(
    options: AuditOptions, texts: AuditedTexts, lexicons: Sequence[Lexicon], further: Sequence[str], audit: Audit
) -> Audit:
    from handful.evaluation.swaps import choose_swaps

    if not options.source.is_dir():
        return replace(audit, swaps_skipped="No swaps: a task file has no classifier to ask.")
    if not (options.source / "adapter").is_dir():
        return replace(audit, swaps_skipped="No swaps: this run has no classifier yet.")
    tuned_on = [example.text for example in (*texts.real, *(texts.synthetic or ()))]
    own = {"test texts": [example.text for example in texts.test], "texts it was tuned on": tuned_on}
    sources = {"texts of --texts": further} if further else own
    planned = choose_swaps(sources, lexicons, most=options.most_swaps, seed=texts.seed)
    if not planned.swaps:
        return replace(audit, swaps_skipped="No swaps: no text has a term with a counterpart in another group.")
    answers = _answers(options, planned.swaps)
    return replace(audit, swaps=answers, swapped_in=planned.swapped_in, swaps_left_out=planned.left_out)


def _answers(options: AuditOptions, swaps: Sequence[Swap]) -> SwapReport:
    from handful.classifier import Classifier
    from handful.evaluation.swaps import measure_swaps

    classifier = Classifier.load(
        options.source / "adapter",
        base_model=options.base_model,
        device=options.device,
        dtype=options.dtype,
        load_in_4bit=options.load_in_4bit,
    )
    with stopping_gently() as stop, watching(stop, as_json=False) as watch:

        def classify(texts: Sequence[str]) -> Any:
            watch.start("swap", len(texts), "texts")
            probabilities = classifier.predict_proba(texts, on_progress=advance)
            watch.finish(f"{len(texts)} texts")
            return probabilities

        def advance(count: int) -> None:
            watch.advance(count)
            if watch.stop_requested():
                raise Interrupted("stopped; an audit begins anew")

        return measure_swaps(swaps, classify, classifier.labels)


def _published(directory: Path, report: dict[str, Any]) -> Path | None:
    from handful.run import open_run, read_manifest

    try:
        with open_run(directory, read_manifest(directory)) as run:
            return run.publish_json("audit", report)
    except RunError as error:
        tell_warning(f"audit.json is not written: {error}")
        return None
