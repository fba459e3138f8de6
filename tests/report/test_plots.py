from __future__ import annotations

import re
import sys
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from handful.report.page import Figure
from handful.report.plots import (
    Bar,
    Point,
    ReliabilityBin,
    Series,
    bar_chart,
    heat_map,
    line_chart,
    reliability_diagram,
)
from handful.report.wording import brief
from tests.payloads import payloads

NAMES = ["ours <b>", "LoRA $\\frac{1}{$", "\u202eevil\x00", "漢字 🦊"]


def bars() -> Figure:
    return bar_chart([Bar(name, 0.5, 0.4, 0.62) for name in NAMES], axis="accuracy")


def lines() -> Figure:
    points = (Point(4, 0.5, 0.4, 0.6), Point(25, 0.7, 0.6, 0.8), Point(100, 0.8, 0.7, 0.9))
    series = [Series(name, points) for name in NAMES]
    return line_chart(series, x_axis="examples", y_axis="accuracy", band="95 % interval", shown="{:.3f}".format)


def reliability() -> Figure:
    return reliability_diagram([ReliabilityBin(0.4, 0.5, 10, 0.45, 0.3), ReliabilityBin(0.9, 1.0, 0, 0.0, 0.0)])


def heat() -> Figure:
    matrix = [[5, 1, 0, 0], [2, 30, 4, 0], [0, 0, 7, 0], [0, 0, 0, 0]]
    return heat_map(matrix, NAMES, rows_are="true", columns_are="predicted")


every_plot = pytest.mark.parametrize("plot", [bars, lines, reliability, heat])


@every_plot
def test_same_numbers_same_bytes(plot: Callable[[], Figure]) -> None:
    assert plot() == plot()


@every_plot
def test_nothing_but_a_drawing(plot: Callable[[], Figure]) -> None:
    figure = plot()
    assert figure.table.rows
    assert "http" not in figure.svg
    root = ElementTree.fromstring(figure.svg)
    assert {one.tag for one in root.iter()} <= {"svg", "g", "path", "text", "use", "defs", "clipPath", "rect"}
    # All colours are the page's own, so that they fit light and dark.
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", re.sub(r"#d[0-9a-f]{8}-\w+", "", figure.svg))
    assert not set(figure.svg) & set("\u202e\x00")


@every_plot
def test_a_users_matplotlibrc_changes_nothing(plot: Callable[[], Figure]) -> None:
    import matplotlib

    expected = plot()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.usetex": False, "lines.linewidth": 9}):
        assert plot() == expected


def test_names_stand_in_the_plots_as_they_are() -> None:
    for plot in (bars, lines, heat):
        texts = [one.text for one in ElementTree.fromstring(plot().svg).iter("text")]
        assert {brief(name, 22) for name in NAMES} <= set(texts)


def test_numbers_of_the_bars() -> None:
    made = bar_chart([Bar("a", 0.5, 0.4, 0.62), Bar("b" * 70, 1.0, 0.9, 1.0)], axis="accuracy")
    assert [column.title for column in made.table.columns] == ["", "accuracy", "95 % interval"]
    assert made.table.rows == (
        ("a", "0.500", "0.400 to 0.620"),
        (f"{'b' * 60}… (70 characters)", "1.000", "0.900 to 1.000"),
    )


def test_numbers_of_the_lines() -> None:
    assert lines().table.rows[:2] == (
        (NAMES[0], "4", "0.500", "0.400 to 0.600"),
        (NAMES[0], "25", "0.700", "0.600 to 0.800"),
    )


def test_empty_bins_are_left_out() -> None:
    assert reliability().table.rows == (("0.4 to 0.5", "10", "0.450", "0.300"),)


def test_counts_stand_in_the_cells() -> None:
    made = heat()
    texts = [one.text for one in ElementTree.fromstring(made.svg).iter("text")]
    assert {"5", "1", "2", "30", "4", "7"} <= set(texts)
    assert made.table.rows[1] == (NAMES[1], "2", "30", "4", "0")
    assert made.table.columns[0].title == "true ↓ predicted →"


def test_hostile_names_draw(capsys: pytest.CaptureFixture[str]) -> None:
    names = payloads(80)
    heat_map([[1] * 24 for _ in range(24)], names[:24], rows_are=names[30], columns_are=names[31])
    bar_chart([Bar(name, 0.5, 0.4, 0.6) for name in names], axis=names[40])
    line_chart(
        [Series(name, (Point(1, 0.1, 0.0, 0.2),)) for name in names[:8]],
        x_axis=names[50],
        y_axis=names[51],
        band="band",
        shown=str,
    )
    assert capsys.readouterr() == ("", "")


def test_no_window_is_asked_for() -> None:
    bars()
    assert "matplotlib.pyplot" not in sys.modules
