"""Two ways to do the same work, measured in turn (A B A B ...), and the median of their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.progress import say


@dataclass(frozen=True)
class Measurement:
    """Work done in one go."""

    work: float
    """In units of its own: texts, tokens, examples, floating-point operations."""
    seconds: float

    @property
    def rate(self) -> float:
        """Work per second."""
        return self.work / self.seconds


Side = Callable[[int], Measurement]
"""Does the work of one repeat, given its number from 0."""


@dataclass(frozen=True)
class Comparison:
    """Pairs of measurements, ours and the reference's, taken in turn."""

    ours: tuple[Measurement, ...]
    reference: tuple[Measurement, ...]

    @property
    def ratios(self) -> list[float]:
        """Our rate over the reference's, pair by pair: above 1 we are faster."""
        return [a.rate / b.rate for a, b in zip(self.ours, self.reference, strict=True)]

    @property
    def ratio(self) -> float:
        """Median over the pairs."""
        return statistics.median(self.ratios)

    def to_dict(self) -> dict[str, Any]:
        """Return every repeat, JSON-ready: seconds and units of work."""
        return {
            "ratio": self.ratio,
            "ratios": self.ratios,
            "ours": [{"work": m.work, "seconds": m.seconds} for m in self.ours],
            "reference": [{"work": m.work, "seconds": m.seconds} for m in self.reference],
        }


def timed(work: Callable[[], float]) -> Measurement:
    """Do some work, which returns how much it was, and take its wall time."""
    started = time.perf_counter()
    done = work()
    return Measurement(done, time.perf_counter() - started)


def alternate(name: str, ours: Side, reference: Side, repeats: int) -> Comparison:
    """Measure both sides in turn; whatever is to be warm must have run before.

    Args:
        name: For the progress on stderr.
        ours: Our side.
        reference: The other side.
        repeats: Number of pairs, at least 1.
    """
    pairs: list[tuple[Measurement, Measurement]] = []
    for repeat in range(repeats):
        pairs.append((ours(repeat), reference(repeat)))
        first, second = pairs[-1]
        ratio = first.rate / second.rate
        say(f"{name} {repeat + 1}/{repeats}: {first.seconds:.2f} s, {second.seconds:.2f} s, ratio {ratio:.2f}")
    return Comparison(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))
