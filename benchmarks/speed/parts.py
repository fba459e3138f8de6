"""What is measured, by name; a part's module is imported only when it is wanted."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchmarks.speed.settings import Measure

PARTS = {
    "classify.icl": "classify_icl",
    "classify.zero_shot": "classify_zero_shot",
    "classify.decision": "classify_decision",
    "classify.gemm": "classify_gemm",
    "classify.precision": "classify_precision",
    "classify.setfit": "classify_setfit",
    "generate.hf": "generate_hf",
    "generate.llama_cpp": "generate_llama_cpp",
    "train.label": "train_label",
    "train.paper": "train_paper",
    "run": "whole_run",
    "first_answer": "first_answer",
    "growth": "growth",
}
"""Module of each part, in the order they are measured."""


def chosen(only: str | None) -> list[str]:
    """Return the parts of a comma-separated list; `classify` is every part that begins with `classify.`.

    Raises:
        ValueError: A name is not known.
    """
    if only is None:
        return list(PARTS)
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if not _matching(name)]
    if unknown:
        raise ValueError(f"unknown parts {', '.join(unknown)}; they are {', '.join(PARTS)}")
    names: Sequence[str] = [part for name in wanted for part in _matching(name)]
    return [part for part in PARTS if part in names]


def load(part: str) -> Measure:
    """Return the function that measures a part."""
    measure: Measure = importlib.import_module(f"benchmarks.speed.{PARTS[part]}").measure
    return measure


def _matching(name: str) -> list[str]:
    return [part for part in PARTS if part == name or part.startswith(f"{name}.")]
