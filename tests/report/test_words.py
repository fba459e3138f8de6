from __future__ import annotations

import dataclasses

from handful.report.page import Figure, Figures, Fold, Table
from handful.report.words import diversity_section, real_texts, words_section, written_texts
from tests.report.samples import films, many_films, run_data


def test_texts_of_a_label() -> None:
    data = run_data()
    assert len(real_texts(data)) == 4 + 20
    assert real_texts(data, "good")[:3] == [
        "a lovely warm film number 0",
        "a lovely warm film number 1",
        "test 0: a lovely warm story",
    ]
    assert len(written_texts(data)) == 14
    assert written_texts(data, "good")[-1] == "written bad text 6"


def test_clouds_and_words() -> None:
    data = run_data(films(n_test=200))
    section = words_section(dataclasses.replace(data, training=[*data.training] * 10))
    assert section is not None
    clouds, _, more, less = section.blocks
    assert isinstance(clouds, Figures)
    assert [figure.caption for figure in clouds.figures] == ["good: real texts", "good: written texts"]
    assert ("lovely", "102") in clouds.figures[0].table.rows
    assert isinstance(more, Table)
    assert isinstance(less, Table)
    assert "written" in {row[0] for row in more.rows}
    assert {row[0] for row in less.rows} >= {"lovely", "dull", "test"}
    assert all(abs(float(row[2].replace("\u2212", "-"))) >= 1.96 for row in (*more.rows, *less.rows))
    assert "4 examples and 200 test texts" in section.intro


def test_of_many_labels_most_clouds_are_folded() -> None:
    section = words_section(many_films())
    assert section is not None
    clouds, (fold,) = section.blocks[:4], section.blocks[4:5]
    assert all(isinstance(block, Figures) for block in clouds)
    assert isinstance(fold, Fold)
    assert (fold.title, len(fold.blocks)) == ("The next 8 of 30 labels", 8)


def test_diversity_compares_equal_lengths() -> None:
    section = diversity_section(run_data())
    assert section is not None
    made = section.blocks[0]
    assert isinstance(made, Table)
    names = [row[0] for row in made.rows]
    assert names == ["written, trained on", "written, rejected", "real test texts", "the real examples"]
    assert len({row[2] for row in made.rows[:3]}) == 1
    assert made.rows[3][8] == "\u2013"


def test_many_test_texts_do_not_push_the_written_ones_out() -> None:
    """A group counts by the length of the written ones: real ones may be any number."""
    data = run_data()
    test = [
        dataclasses.replace(example, text=f"{example.text} {n}") for n in range(60) for example in data.task.test or ()
    ]
    section = diversity_section(dataclasses.replace(data, task=dataclasses.replace(data.task, test=tuple(test))))
    assert section is not None
    made = section.blocks[0]
    assert isinstance(made, Table)
    assert made.rows[0][0] == "written, trained on"


def test_variety_is_drawn_against_the_amount_of_text() -> None:
    data = run_data()
    long = [
        dataclasses.replace(row, text=f"{row.text}, {n} or so, which goes on and on and on and on and on")
        for n, row in enumerate(data.training)
    ]
    section = diversity_section(dataclasses.replace(data, training=long))
    assert section is not None
    table, curve = section.blocks
    assert isinstance(table, Table)
    assert isinstance(curve, Figure)
    assert [column.title for column in curve.table.columns] == ["", "words", "different 3-word runs"]
    points = {(name, int(words)): int(found) for name, words, found in curve.table.rows}
    lengths = sorted({words for _, words in points})
    assert lengths == [30, 60, 120]
    assert {name for name, _ in points} == {"written, trained on", "real test texts"}
    for name, *cells in table.rows[:2]:
        found = [points[name, length] for length in lengths]
        assert found[-1] == int(cells[2])
        assert found == sorted(found)
    assert points["written, trained on", 120] < points["real test texts", 120]


def test_one_text_is_nothing_to_compare() -> None:
    data = run_data()
    alone = dataclasses.replace(
        data,
        task=dataclasses.replace(data.task, test=None),
        training=[row for row in data.training if row.source == "synthetic"][:1],
        candidates=data.candidates[:1],
        verdicts=data.verdicts[:1],
    )
    section = diversity_section(alone)
    assert section is not None
    assert [row[0] for row in section.blocks[0].rows] == ["the real examples"]  # type: ignore[union-attr]


def test_a_few_words_are_no_curve() -> None:
    section = diversity_section(run_data())
    assert section is not None
    assert len(section.blocks) == 1


def test_nothing_written() -> None:
    data = dataclasses.replace(run_data(), training=())
    assert words_section(data) is None
    assert diversity_section(data) is None
