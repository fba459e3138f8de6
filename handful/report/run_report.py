"""The report of a run: one page with what it came to, what was measured, and what the model wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from handful.evaluation.methods import OURS
from handful.records import Candidate
from handful.report import comparison, words, written
from handful.report.page import Block, Column, Fold, Page, Paragraph, Section, Sentences, Table, table
from handful.report.render import render_page
from handful.report.run_data import RunData, read_run
from handful.report.verdict import verdict
from handful.report.wording import NAME_CHARS, cut, plural, quoted
from handful.run import Run

REPORT = "report.html"


def write_report(run: Run) -> Path:
    """Make the report of an open run from what it published, and publish it.

    Raises:
        RunError: There is nothing to tell of yet, or a file of the run is damaged or cannot be written.
    """
    return run.publish_file(REPORT, render_page(run_page(read_run(run.directory))))


def run_page(data: RunData) -> Page:
    """Return the page of a run, as far as the run went."""
    measured: tuple[Callable[[RunData], Section | None], ...] = ()
    if data.results is not None:
        measured = (
            comparison.methods_section,
            comparison.labels_section,
            comparison.mistakes_section,
            comparison.calibration_section,
        )
    builders = (
        *measured,
        written.written_section,
        written.overlap_section,
        words.words_section,
        words.diversity_section,
        cost_section,
        limits_section,
        settings_section,
    )
    title = f"{cut(data.task.name, 80)}: handful, recipe {cut(str(data.recipe['name']), NAME_CHARS)}, seed {data.seed}"
    return Page(title, verdict(data), tuple(_sections(builders, data)))


def _sections(builders: tuple[Callable[[RunData], Section | None], ...], data: RunData) -> Iterator[Section]:
    for build in builders:
        section = build(data)
        if section is not None:
            yield section


def cost_section(data: RunData) -> Section | None:
    """Say how long what took, and how many tokens."""
    stages: Mapping[str, Any] = (data.timings or {}).get("stages", {})
    if not stages:
        return None
    rows = [
        [
            cut(name, NAME_CHARS),
            f"{entry['seconds']:,.1f}",
            f"{entry['units']:,} {entry['unit']}",
            f"{entry['units'] / entry['seconds']:,.1f}" if entry["seconds"] else "\u2013",
        ]
        for name, entry in stages.items()
    ]
    total = sum(entry["seconds"] for entry in stages.values())
    intro = (
        f"{total:,.0f} seconds of work in all, loading and reading not counted. A resumed run counts each part once."
    )
    made = table("stage", ["seconds", "what", "a second"], rows)
    return Section("What it cost", f"{intro}{tokens_written(data.candidates)}{_tokens_read(data)}", (made,))


def tokens_written(candidates: Sequence[Candidate]) -> str:
    """Return a sentence on what the model wrote for ours, with a space before it; nothing if not all was counted."""
    counts = [candidate.n_tokens for candidate in candidates]
    known = [count for count in counts if isinstance(count, int) and count >= 0]
    if not known or len(known) < len(counts):
        return ""
    return f" For ours the model wrote {sum(known):,} tokens, {sum(known) / len(known):.0f} a text."


def _tokens_read(data: RunData) -> str:
    ours = comparison.rows_by_method(data).get(OURS)
    return "" if ours is None else f" To answer a text, ours reads {ours['prompt_tokens']:.0f} tokens."


def limits_section(data: RunData) -> Section:
    """Say what the numbers of this page do not say."""
    shots = max((len(data.task.examples_of(label)) for label in data.labels), default=0)
    sentences = [
        f"This is one draw of {plural(shots, 'example')} a label and one seed. Another draw can move accuracy by ten "
        "points and more; run several seeds before you conclude anything about a method.",
        "Probabilities are shares among the labels of this task, whatever the text is: a text that belongs to none of "
        "them gets one all the same.",
        "The texts the model wrote carry its biases, and its judge shares its blind spots: what both get wrong, the "
        "filter keeps.",
    ]
    if data.results is not None:
        sentences[1:1] = [
            f"All accuracies are from one test set of {plural(data.results['n_test'], 'text')}. The intervals say how "
            "much another sample of the same kind could differ, not how the texts you will meet differ from these.",
            "The best of several methods was picked on the texts it was measured on, which flatters it a little.",
        ]
    else:
        sentences.insert(
            1, "The acceptance rates say how often the model agrees with itself, not how often it is right."
        )
    return Section("What this does not say", "", (Sentences(tuple(sentences)),))


def settings_section(data: RunData) -> Section:
    """Say what was run: task, labels, model and recipe."""
    tests = plural(len(data.task.test), "test text") if data.task.test else "no test texts"
    facts: list[Block] = [
        Paragraph(f"Instruction: {quoted_line(data.task.instruction)}"),
        Paragraph(
            f"Model {quoted(data.model)}, recipe {quoted(str(data.recipe['name']))}, seed {data.seed}; "
            f"{plural(len(data.task.examples), 'real example')}, {tests}.{data.arithmetic}"
        ),
        Table(
            (Column("label", "name"), Column("the model reads", "name"), Column("description", "text")),
            tuple(
                (cut(label.name, NAME_CHARS), cut(label.verbalizer, NAME_CHARS), cut(label.description) or "\u2013")
                for label in data.task.labels
            ),
        ),
        Fold("The recipe", (recipe_table(data.recipe),)),
    ]
    facts += [Paragraph(cut(warning), warning=True) for warning in data.task.warnings]
    return Section("What was run", "", tuple(facts))


def quoted_line(text: str) -> str:
    """Return a longer text as it stands in a sentence."""
    return f"“{cut(text)}”"


def recipe_table(recipe: Mapping[str, Any]) -> Table:
    """Return every setting of a recipe, as a manifest holds it."""
    rows = [
        (cut(f"{stage}.{key}", NAME_CHARS), cut(str(value), NAME_CHARS))
        for stage, settings in recipe.items()
        if isinstance(settings, Mapping)
        for key, value in settings.items()
    ]
    return Table((Column("setting", "name"), Column("value", "name")), tuple(rows))
