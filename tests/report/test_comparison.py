from __future__ import annotations

import dataclasses

import pytest

from handful.evaluation.methods import OURS
from handful.report.benchmark_answers import pooled
from handful.report.comparison import (
    best_other,
    calibration_section,
    labels_section,
    methods_section,
    mistakes_section,
    most_confused,
    rows_by_method,
)
from handful.report.page import Chip, Figure, Figures, Fold, Table, TextList
from handful.report.run_data import RunData
from tests.report.samples import many_films, result_row, run_data


def test_the_table_of_methods_has_the_results_and_marks_ours() -> None:
    section = methods_section(run_data())
    made, bars = section.blocks
    assert isinstance(made, Table)
    assert isinstance(bars, Figure)
    assert [row[:8] for row in made.rows] == [
        ("LoRA-2", "0.800", "0.700 to 0.900", "0.800", "0.800", "0.800", "12.5", "40"),
        ("ours (2 + 21)", "0.900", "0.800 to 1.000", "0.900", "0.900", "0.900", "12.5", "40"),
    ]
    assert made.marked == {1}
    assert made.rows[1][8] == "\u2013"
    assert bars.table.rows[1] == ("ours (2 + 21)", "0.900", "0.800 to 1.000")
    assert "20 test texts" in section.intro


def test_methods_are_compared_answer_by_answer() -> None:
    made = methods_section(run_data()).blocks[0]
    assert isinstance(made, Table)
    assert made.rows[0][8].startswith("+10.0 (")


def test_best_other_is_not_ours() -> None:
    data = run_data()
    assert data.results is not None
    rows = [*data.results["methods"], result_row("zero_shot", "0-shot", 0.85, 20)]
    more = dataclasses.replace(data, results={**data.results, "methods": rows})
    best = best_other(more)
    assert best is not None
    assert best["method"] == "zero_shot"
    assert list(rows_by_method(more)) == ["lora_real", OURS, "zero_shot"]
    assert best_other(dataclasses.replace(data, results=None)) is None


def test_labels_one_by_one() -> None:
    section = labels_section(run_data(wrong=(4, 1)))
    assert section is not None
    made, figures = section.blocks
    assert isinstance(made, Table)
    assert isinstance(figures, Figures)
    # Of ten good texts the first was called bad: precision 10/10 and 10/11.
    assert made.rows[0][:4] == ("good", "10", "1.000", "0.900")
    assert made.rows[1][:4] == ("bad", "10", "0.909", "1.000")
    assert made.columns[5].title == "F1 of LoRA-2"
    assert figures.figures[0].table.rows == (("good", "9", "1"), ("bad", "0", "10"))
    assert figures.figures[1].table.rows == (("good", "8", "2"), ("bad", "2", "8"))


def test_of_many_labels_those_found_least_well_come_first() -> None:
    section = labels_section(many_films())
    assert section is not None
    hardest, everything, _ = section.blocks
    assert isinstance(hardest, Table)
    assert isinstance(everything, Fold)
    (whole,) = everything.blocks
    assert isinstance(whole, Table)
    assert (len(hardest.rows), len(whole.rows)) == (12, 30)
    assert hardest.caption == "The 12 of 30 labels that ours finds least well."
    f1 = [row[4] for row in hardest.rows]
    assert f1 == sorted(row[4] for row in whole.rows)[:12]
    assert [row[0] for row in whole.rows[:3]] == ["label 0", "label 1", "label 2"]


def test_the_surest_mistakes_come_first() -> None:
    section = mistakes_section(run_data(wrong=(4, 3)))
    assert section is not None
    pairs, texts = section.blocks
    assert isinstance(pairs, Table)
    assert isinstance(texts, TextList)
    assert "3 of 20 answers" in section.intro
    assert pairs.rows == (("good", "bad", "2", "20\u00a0%"), ("bad", "good", "1", "10\u00a0%"))
    assert [item.text for item in texts.items] == [
        "test 0: a lovely warm story",
        "test 1: a dull cold story",
        "test 2: a lovely warm story",
    ]
    assert texts.items[1].chips == (
        Chip("true: bad", "good"),
        Chip("predicted: good", "bad"),
        Chip("probability 0.940"),
    )


def test_no_mistakes() -> None:
    section = mistakes_section(run_data(wrong=(4, 0)))
    assert section is not None
    assert section.intro == "None on 20 test texts."


def test_without_the_texts_mistakes_are_numbered() -> None:
    data = run_data()
    section = mistakes_section(dataclasses.replace(data, task=dataclasses.replace(data.task, test=None)))
    assert section is not None
    texts = section.blocks[1]
    assert isinstance(texts, TextList)
    assert texts.items[0].text == "(text 0 of the test set)"


def test_calibration() -> None:
    section = calibration_section(run_data())
    assert section is not None
    assert "90\u00a0% are right" in section.intro
    figure = section.blocks[0]
    assert isinstance(figure, Figure)
    assert sum(int(row[1]) for row in figure.table.rows) == 20


def test_the_error_of_several_classifiers_is_the_mean_of_theirs() -> None:
    """Together one that is too sure and one that is not sure enough would seem to err by nothing."""
    data = run_data()
    ours = (data.answers or {})["lora_synthetic"]

    def surer(by: float) -> RunData:
        rows = tuple(tuple(0.5 + by if value > 0.5 else 0.5 - by for value in row) for row in ours.probabilities)
        return dataclasses.replace(data, answers={"lora_synthetic": dataclasses.replace(ours, probabilities=rows)})

    draws = [surer(0.499), surer(0.301)]  # 18 of 20 are right
    each = [calibration_section(draw) for draw in draws]
    assert ["error 0.099:" in each[0].intro, "error 0.099:" in each[1].intro] == [True, True]  # type: ignore[union-attr]
    together = calibration_section(pooled(draws), draws)
    assert together is not None
    assert "Expected calibration error 0.099, on average over 2 seeds: so far" in together.intro


def test_answers_of_several_classifiers_are_not_called_texts() -> None:
    section = labels_section(run_data(), "answers")
    assert section is not None
    (found, *_) = section.blocks
    assert isinstance(found, Table)
    assert [column.title for column in found.columns][:2] == ["label", "answers"]


def test_without_answers_there_is_nothing_to_say() -> None:
    data = dataclasses.replace(run_data(), answers=None)
    assert [labels_section(data), mistakes_section(data), calibration_section(data)] == [None, None, None]


@pytest.mark.parametrize(("limit", "shown"), [(2, ["a", "d"]), (9, ["a", "b", "c", "d"])])
def test_most_confused(limit: int, shown: list[str]) -> None:
    matrix = [[9, 0, 0, 5], [0, 9, 0, 0], [1, 0, 9, 0], [0, 0, 0, 0]]
    assert most_confused(matrix, ["a", "b", "c", "d"], limit) == shown


def test_a_pair_that_is_confused_is_shown_though_other_labels_attract_more() -> None:
    # Every label loses a text to "e"; three of "a" are taken for "b".
    matrix = [[0, 3, 0, 0, 1], [0, 5, 0, 0, 1], [0, 0, 5, 0, 1], [0, 0, 0, 5, 1], [0, 0, 0, 0, 9]]
    assert most_confused(matrix, list("abcde"), 3) == ["a", "b", "e"]
