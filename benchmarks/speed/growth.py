"""Cost against what can grow: a table, the exponent of each, and a plot in `benchmarks/results/growth.svg`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.speed.exponents import fitted_exponent, last_exponent
from benchmarks.speed.growth_axes import Axis, axes, tiny_model
from benchmarks.speed.growth_plot import plot
from benchmarks.speed.machine import ROOT
from benchmarks.speed.models import load_base
from benchmarks.speed.progress import say
from benchmarks.speed.settings import PartResult, Settings

_LONG = 20.0
"""Seconds from which one measurement of a size is enough."""
_REPEATS = 3
_PLOT = ROOT / "benchmarks" / "results" / "growth.svg"


def measure(settings: Settings) -> PartResult:
    """Return `growth`: per axis sizes, seconds (medians) and exponents; every repeat is in the measurements."""
    table: dict[str, Any] = {}
    repeats: dict[str, Any] = {}
    for axis in axes(settings, load_base(), tiny_model()):
        seconds = [_repeated(axis, size, min(settings.repeats, _REPEATS)) for size in axis.sizes]
        medians = [statistics.median(values) for values in seconds]
        table[axis.name] = row(axis, medians)
        repeats[axis.name] = seconds
    if not settings.quick:
        plot(table, _PLOT)
    return PartResult({"growth": table}, {"seconds": repeats})


def row(axis: Axis, seconds: Sequence[float]) -> dict[str, Any]:
    """Return an axis' line of the table."""
    return {
        "unit": axis.unit,
        "cost": axis.cost,
        "sizes": list(axis.sizes),
        "seconds": list(seconds),
        "exponent": fitted_exponent(axis.sizes, seconds),
        "exponent_at_the_end": last_exponent(axis.sizes, seconds),
        "must_be_linear": axis.must_be_linear,
    }


def _repeated(axis: Axis, size: int, repeats: int) -> list[float]:
    seconds: list[float] = []
    while len(seconds) < repeats and not (seconds and seconds[0] > _LONG):
        seconds.append(axis.run(size))
    say(f"growth, {axis.name} {size}: {statistics.median(seconds):.2f} s")
    return seconds
