"""The plots, drawn by matplotlib; each comes with the table of its numbers."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from handful.report.page import Column, Figure, Table, table
from handful.report.svg import GRID, HEAT, INK, MUTED, SERIES, from_matplotlib
from handful.report.wording import NAME_CHARS, brief, cut, share

_WIDTH = 380
_NAME = 22
_BAR_NAME = 34
_SETTINGS = {
    "svg.hashsalt": "handful",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GRID,
    "axes.axisbelow": True,
    "axes.prop_cycle": f"cycler('color', ['{INK}'])",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


@dataclass(frozen=True)
class Bar:
    """One bar with its interval."""

    name: str
    value: float
    low: float
    high: float
    stands_out: bool = False


@dataclass(frozen=True)
class Point:
    """One place of a line, with its interval."""

    x: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """One line."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class ReliabilityBin:
    """The texts whose highest probability lies in an interval."""

    low: float
    high: float
    n_texts: int
    mean_confidence: float
    accuracy: float


def bar_chart(bars: Sequence[Bar], *, axis: str, caption: str = "") -> Figure:
    """Return bars from 0 to 1 with their 95 % intervals, one below the other."""
    places = range(len(bars))

    def paint(axes: Any) -> None:
        colours = [SERIES[0] if bar.stands_out else MUTED for bar in bars]
        axes.barh(places, [bar.value for bar in bars], height=0.62, color=colours, alpha=0.85)
        below = [max(0.0, bar.value - bar.low) for bar in bars]
        above = [max(0.0, bar.high - bar.value) for bar in bars]
        values = [bar.value for bar in bars]
        axes.errorbar(values, places, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1.3, capsize=3.5)
        for place, bar in zip(places, bars, strict=True):
            axes.text(max(bar.high, bar.value) + 0.02, place, share(bar.value), va="center", fontsize=9.5)
        axes.set_yticks(places, [brief(bar.name, _BAR_NAME) for bar in bars])
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlim(0, 1.12)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
        axes.set_xlabel(brief(axis, 60))
        axes.grid(visible=False, axis="y")

    rows = [[cut(bar.name, NAME_CHARS), share(bar.value), f"{share(bar.low)} to {share(bar.high)}"] for bar in bars]
    numbers = table("", [axis, "95 % interval"], rows)
    return Figure(_drawn(_WIDTH, 58 + 27 * len(bars), axis, paint), numbers, caption)


def line_chart(
    series: Sequence[Series],
    *,
    x_axis: str,
    y_axis: str,
    shown: Callable[[float], str],
    band: str = "",
    caption: str = "",
) -> Figure:
    """Return lines over a logarithmic axis, with bands from `low` to `high`.

    Args:
        series: The lines.
        x_axis: What is counted along the axis.
        y_axis: What is measured.
        shown: A measured number in words.
        band: What the bands are; empty if the points have none.
        caption: Below the figure.
    """
    ticks = sorted({point.x for line in series for point in line.points})

    def paint(axes: Any) -> None:
        for index, line in enumerate(series):
            colour, marker = SERIES[index % len(SERIES)], "osD^"[index % 4]
            xs = [point.x for point in line.points]
            axes.plot(
                xs,
                [point.value for point in line.points],
                color=colour,
                marker=marker,
                markersize=5,
                linestyle=("-", "--", "-.", ":")[index // len(SERIES) % 4],
                label=brief(line.name, _NAME),
            )
            if band:
                low, high = ([getattr(point, end) for point in line.points] for end in ("low", "high"))
                axes.fill_between(xs, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel(brief(x_axis, 60))
        axes.set_ylabel(brief(y_axis, 40))
        axes.legend()

    rows = [
        [
            cut(line.name, NAME_CHARS),
            f"{p.x:g}",
            shown(p.value),
            *([f"{shown(p.low)} to {shown(p.high)}"] if band else []),
        ]
        for line in series
        for p in line.points
    ]
    numbers = table("", [x_axis, y_axis, *([band] * bool(band))], rows)
    return Figure(_drawn(_WIDTH, 270, f"{y_axis} over {x_axis}", paint), numbers, caption)


def reliability_diagram(bins: Sequence[ReliabilityBin], *, caption: str = "") -> Figure:
    """Return how often answers are right against how probable the model called them."""
    filled = [one for one in bins if one.n_texts]
    most = max((one.n_texts for one in filled), default=1)

    def paint(axes: Any) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1.2)
        for one in filled:
            axes.bar(
                (one.low + one.high) / 2,
                0.16 * one.n_texts / most,
                width=0.85 * (one.high - one.low),
                color=MUTED,
                alpha=0.35,
            )
        xs, ys = [one.mean_confidence for one in filled], [one.accuracy for one in filled]
        axes.plot(xs, ys, color=SERIES[0], marker="o", markersize=5.5)
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.05)
        axes.set_xlabel("probability given to the answer")
        axes.set_ylabel("share of right answers")

    rows = [
        [f"{b.low:.1f} to {b.high:.1f}", f"{b.n_texts:,}", share(b.mean_confidence), share(b.accuracy)] for b in filled
    ]
    numbers = table("probability", ["texts", "mean probability", "share right"], rows)
    return Figure(_drawn(_WIDTH, 300, "Reliability diagram", paint), numbers, caption)


def heat_map(
    matrix: Sequence[Sequence[int]], labels: Sequence[str], *, rows_are: str, columns_are: str, caption: str = ""
) -> Figure:
    """Return counts as a square of cells, each row shaded by its shares."""
    n_labels = len(labels)
    cell = 40 if n_labels <= 6 else 30

    def paint(axes: Any) -> None:
        from matplotlib.patches import Rectangle

        for y, counts in enumerate(matrix):
            total = max(1, sum(counts))
            for x, count in enumerate(counts):
                if count:
                    # As wide as a cell less a hair, so that equal neighbours are told apart.
                    square = Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=HEAT, alpha=0.08 + 0.8 * count / total)
                    axes.add_patch(square)
                    axes.text(x, y, f"{count}", ha="center", va="center", fontsize=9.5 if count < 1000 else 8)
        names = [brief(label, _NAME) for label in labels]
        axes.set_xticks(range(n_labels), names, rotation=90 if n_labels > 3 else 0)
        axes.set_yticks(range(n_labels), names)
        axes.set_xlim(-0.5, n_labels - 0.5)
        axes.set_ylim(n_labels - 0.5, -0.5)
        axes.set_xlabel(brief(columns_are, 60))
        axes.set_ylabel(brief(rows_are, 60))
        axes.grid(visible=False)
        axes.tick_params(length=0)

    names = [cut(label, NAME_CHARS) for label in labels]
    rows = tuple((name, *(str(count) for count in counts)) for name, counts in zip(names, matrix, strict=True))
    columns = (Column(f"{rows_are} ↓ {columns_are} →", "name"), *(Column(name) for name in names))
    longest = 6.2 * max(len(brief(label, _NAME)) for label in labels)
    width = max(_WIDTH, math.ceil(45 + longest + cell * n_labels))
    height = math.ceil(50 + (longest if n_labels > 3 else 20) + cell * n_labels)
    svg = _drawn(width, height, f"{rows_are} against {columns_are}", paint)
    return Figure(svg, Table(columns, rows), caption)


def _drawn(width: float, height: float, title: str, paint: Callable[[Any], None]) -> Markup:
    # It says on stderr that it builds its cache of fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    buffer = io.StringIO()
    # The user's own matplotlibrc must not change the bytes.
    with matplotlib.style.context("default"), matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the browser has the glyphs that matplotlib's font lacks
        canvas = Canvas(figsize=(width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(canvas)
        paint(canvas.add_subplot())
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(buffer, format="svg", metadata=nothing)
    return from_matplotlib(buffer.getvalue(), title)
