"""The growth table as a plot: one panel for each axis, both scales logarithmic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

_COLUMNS = 3


def plot(table: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the SVG; its bytes depend on the table alone."""
    mpl.rcParams["svg.hashsalt"] = "handful"
    n_rows = -(-len(table) // _COLUMNS)
    figure = Figure(figsize=(4 * _COLUMNS, 3 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, _COLUMNS, squeeze=False).flat
    for panel, (name, row) in zip(panels, table.items(), strict=False):
        # Zero has no logarithm: without demonstrations a prompt stands at the left, at one half.
        sizes = [size or 0.5 for size in row["sizes"]]
        panel.loglog(sizes, row["seconds"], "o-", color="#1f5f8b")
        linear = [row["seconds"][-1] * size / sizes[-1] for size in sizes]
        panel.loglog(sizes, linear, "--", color="#999999", linewidth=0.8)
        # The sizes themselves: matplotlib's own marks between powers of ten run into each other.
        panel.set_xticks(sizes, [f"{size:,}" for size in row["sizes"]], fontsize=8)
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.set_title(f"{name}: exponent {row['exponent']:.2f}", fontsize=10)
        panel.set_xlabel(row["unit"], fontsize=9)
        panel.set_ylabel("seconds", fontsize=9)
    for panel in list(figure.axes)[len(table) :]:
        panel.remove()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
