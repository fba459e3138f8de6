"""From a handful of labelled examples and one local LLM to a fast text classifier."""

from handful.classifier import Classifier
from handful.errors import HandfulError
from handful.job import Job
from handful.llm.engine import open_engine
from handful.pipeline import Outcome, run_pipeline
from handful.recipe import Recipe, load_recipe
from handful.records import Candidate, Example, Prediction, Verdict
from handful.run import open_run
from handful.task import Label, Task, load_task

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
