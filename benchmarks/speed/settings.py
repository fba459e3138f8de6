"""How a benchmark is run, and what a part of it returns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Settings:
    """How long and where to measure."""

    repeats: int
    """Pairs per comparison."""
    quick: bool
    """A smoke run: about an eighth of the texts, the figures mean nothing."""
    scratch: Path
    """Folder for tuned classifiers and runs, one per commit."""

    def count(self, full: int, least: int = 2) -> int:
        """Return how many texts, steps or tokens to take where a whole run takes `full`."""
        return max(least, math.ceil(full / 8)) if self.quick else full


@dataclass(frozen=True)
class PartResult:
    """What one part measured."""

    figures: Mapping[str, Any]
    """The keys of the result: numbers, by set where the key says so, None for what could not be measured."""
    measurements: Mapping[str, Any] = field(default_factory=dict)
    """Every repeat, JSON-ready."""
    notes: tuple[str, ...] = ()
    """What a reader must know to read the figures."""


Measure = Callable[[Settings], PartResult]


class DisagreementError(Exception):
    """Ours and the reference gave different results: their times are not comparable."""
