from __future__ import annotations

import dataclasses

from handful.filter import decide
from handful.recipe import FilterRecipe
from handful.records import Candidate, LabelScores, Verdict
from handful.report.page import Block, Chip, Figure, Fold, Paragraph, Table, TextList
from handful.report.run_data import RunData
from handful.report.written import REASONS, overlap_section, written_section
from tests.report.samples import films, run_data


def blocks_of(data: RunData) -> tuple[Block, ...]:
    section = written_section(data)
    assert section is not None
    return section.blocks


def test_where_nothing_was_written_there_is_nothing_to_tell() -> None:
    assert written_section(dataclasses.replace(run_data(), candidates=(), verdicts=())) is None


def test_counts_per_label() -> None:
    made = blocks_of(run_data())[0]
    assert isinstance(made, Table)
    assert made.rows == (
        ("good", "2", "10", "6", "1", "1", "3", "60\u00a0%", "7"),
        ("bad", "2", "10", "6", "1", "1", "3", "60\u00a0%", "7"),
    )


def test_reasons_in_words() -> None:
    made = blocks_of(run_data())[1]
    assert isinstance(made, Table)
    assert [column.title for column in made.columns] == ["why", "texts", "good", "bad"]
    assert made.rows[0] == (REASONS["agrees"], "12", "6", "6")
    assert made.rows[1] == (REASONS["disagrees"], "4", "2", "2")
    assert {row[0] for row in made.rows} == {REASONS[r] for r in ("agrees", "disagrees", "duplicate", "relabelled")}


def test_every_reason_of_the_filter_has_words() -> None:
    task = films()
    candidates = [Candidate("0", "x", "good", 0, "p"), Candidate("1", "y", "bad", 0, "p")]
    scores = [LabelScores("0", (-0.1, -2.0)), LabelScores("1", (-0.1, -2.0))]
    for recipe in (
        FilterRecipe(calibration="none"),
        FilterRecipe(calibration="none", min_margin=1.0),
        FilterRecipe(calibration="none", relabel=True),
        FilterRecipe(method="none"),
        FilterRecipe(method="random"),
    ):
        for verdict in decide(task, candidates, {}, scores, recipe, 0):
            assert verdict.reason in REASONS


def test_examples_to_read() -> None:
    fold = blocks_of(run_data())[2]
    assert isinstance(fold, Fold)
    assert fold.title == "good: 6 kept, 1 moved, 3 rejected"
    real, kept, moved, rejected, screened = fold.blocks
    for block in (real, kept, moved, rejected, screened):
        assert isinstance(block, TextList)
    assert isinstance(kept, TextList)
    assert [item.text[-1] for item in kept.items] == ["0", "1", "2", "4", "5"]
    assert isinstance(moved, TextList)
    assert [item.text[-1] for item in moved.items] == ["6"]
    assert moved.items[0].chips[:2] == (Chip("relabelled", "good"), Chip(REASONS["relabelled"]))
    assert kept.items[0].chips == (
        Chip("kept", "good"), Chip(REASONS["agrees"]), Chip("good 0.90"), Chip("bad 0.10"),
    )  # fmt: skip
    assert isinstance(rejected, TextList)
    assert rejected.items[0].chips[2] == Chip("bad 0.83")
    assert isinstance(screened, TextList)
    assert screened.items[0].chips == (Chip("rejected", "bad"), Chip(REASONS["duplicate"]))


def test_many_labels_are_not_all_listed() -> None:
    data = run_data()
    names = [f"label {index}" for index in range(30)]
    labels = tuple(dataclasses.replace(data.task.labels[0], name=name) for name in names)
    task = dataclasses.replace(data.task, labels=labels, examples=(), test=None)
    candidates = [Candidate(str(i), f"text {i}", name, 0, "p") for i, name in enumerate(names)]
    verdicts = [Verdict(str(i), "kept", "agrees", name, (0.1,) * 30) for i, name in enumerate(names)]
    many = RunData(**{**vars(data), "task": task, "candidates": candidates, "verdicts": verdicts, "training": ()})
    blocks = blocks_of(many)
    assert sum(isinstance(block, Fold) for block in blocks) == 12
    assert blocks[-1] == Paragraph("Texts of the first 12 of 30 labels; verdicts.jsonl has all.")
    section = overlap_section(many)
    assert section is not None
    figure = section.blocks[-1]
    assert isinstance(figure, Figure)
    assert len(figure.table.rows) == 24


def test_labels_that_overlap_are_warned_of() -> None:
    data = run_data()
    verdicts = [
        dataclasses.replace(v, label_probabilities=(0.2, 0.8)) if v.candidate_id.startswith("0-0") else v
        for v in data.verdicts
    ]
    section = overlap_section(dataclasses.replace(data, verdicts=verdicts))
    assert section is not None
    assert section.blocks[0] == Paragraph("10 of 10 texts written for “good” read as “bad” to the model.", warning=True)
    calm = overlap_section(data)
    assert calm is not None
    assert calm.blocks[0] == Paragraph("No two labels stand out.")


def test_nothing_judged() -> None:
    data = run_data()
    verdicts = [dataclasses.replace(v, label_probabilities=()) for v in data.verdicts]
    assert overlap_section(dataclasses.replace(data, verdicts=verdicts)) is None
