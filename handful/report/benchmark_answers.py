"""The parts of a benchmark's report on the answers of ours: all seeds label by label, the first to read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from handful.report.comparison import calibration_section, labels_section, mistakes_section
from handful.report.page import Section
from handful.report.run_data import Answers, RunData
from handful.report.wording import plural
from handful.report.written import overlap_section, written_section


def answer_sections(draws: Sequence[RunData]) -> Iterator[Section]:
    """Yield what the report of a run says, of the draws of one task.

    Args:
        draws: By seed, each with its answers; at least one.
    """
    together, several = pooled(draws), len(draws) > 1
    of_all = f"The answers of {plural(len(draws), 'seed')} together. " if several else ""
    of_first = "The first seed. " if several else ""
    for section, whose in (
        (labels_section(together, "answers" if several else "test texts"), of_all),
        (calibration_section(together, draws), of_all),
        (mistakes_section(draws[0]), of_first),
        (written_section(draws[0]), of_first),
        (overlap_section(draws[0]), of_first),
    ):
        if section is not None:
            yield dataclasses.replace(section, intro=f"{whose}{section.intro}")


def pooled(draws: Sequence[RunData]) -> RunData:
    """Return the first draw with the answers of all, one after the other, and the methods' mean results."""
    every = [draw.answers or {} for draw in draws]
    names = [name for name in every[0] if all(name in answers for answers in every)]
    rows = {name: [_row(draw, name) for draw in draws] for name in names}
    results = {
        **(draws[0].results or {}),
        "methods": [{**of[0], "accuracy": float(np.mean([row["accuracy"] for row in of]))} for of in rows.values()],
    }
    answers = {name: _joined([own[name] for own in every]) for name in names}
    return dataclasses.replace(draws[0], answers=answers, results=results)


def _row(draw: RunData, method: str) -> Mapping[str, Any]:
    rows: Sequence[Mapping[str, Any]] = (draw.results or {})["methods"]
    return next(row for row in rows if row["method"] == method)


def _joined(parts: Sequence[Answers]) -> Answers:
    return Answers(
        gold=tuple(chain.from_iterable(part.gold for part in parts)),
        predicted=tuple(chain.from_iterable(part.predicted for part in parts)),
        probabilities=tuple(chain.from_iterable(part.probabilities for part in parts)),
    )
