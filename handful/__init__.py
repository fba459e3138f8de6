"""From a handful of labelled examples and one local LLM to a fast text classifier."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "Classifier",
    "Example",
    "HandfulError",
    "Job",
    "Label",
    "Outcome",
    "Prediction",
    "Recipe",
    "Task",
    "Verdict",
    "load_recipe",
    "load_task",
    "open_engine",
    "open_run",
    "run_pipeline",
]

if TYPE_CHECKING:
    from handful.classifier import Classifier
    from handful.errors import HandfulError
    from handful.job import Job
    from handful.llm.engine import open_engine
    from handful.pipeline import Outcome, run_pipeline
    from handful.recipe import Recipe
    from handful.recipe_file import load_recipe
    from handful.records import Candidate, Example, Prediction, Verdict
    from handful.run import open_run
    from handful.task import Label, Task, load_task

_HOME = {
    "Classifier": "classifier",
    "HandfulError": "errors",
    "Job": "job",
    "open_engine": "llm.engine",
    "Outcome": "pipeline",
    "run_pipeline": "pipeline",
    "Recipe": "recipe",
    "load_recipe": "recipe_file",
    "Candidate": "records",
    "Example": "records",
    "Prediction": "records",
    "Verdict": "records",
    "open_run": "run",
    "Label": "task",
    "Task": "task",
    "load_task": "task",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: `import handful` itself costs nothing (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'handful' has no attribute {name!r}")
    return getattr(importlib.import_module(f"handful.{_HOME[name]}"), name)
