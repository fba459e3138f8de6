"""Everything that decides the results of a run, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from handful.fitted_recipe import fit_recipe
from handful.llm.engine import Engine
from handful.llm.protocol import LLM
from handful.llm.sources import model_label
from handful.recipe import Recipe
from handful.task import Task


@dataclass(frozen=True)
class Job:
    """A task, how it is worked, with which model, from which seed."""

    task: Task
    recipe: Recipe
    """With the N that it has for the task, whatever it is made with; see `fit_recipe`."""
    seed: int
    engine: Engine

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", fit_recipe(self.recipe, self.task))

    def identity(self) -> dict[str, Any]:
        """Return what a run directory is compared by.

        Raises:
            ModelError: The model cannot be found.
        """
        return {
            "task_name": self.task.name,
            "task": self.task.fingerprint(),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "model": model_label(self.engine.name),
            "model_fingerprint": self.engine.fingerprint(),
            **self.engine.arithmetic(),
        }

    def llm(self) -> LLM:
        """Return the base model, loaded when first asked for."""
        return self.engine.llm(max_text_tokens=self.recipe.prompt.max_text_tokens)
