"""What a benchmark measures: tasks, methods and seeds; a cell is one of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from handful.errors import RecipeError, TaskError
from handful.evaluation.methods import Method
from handful.fitted_recipe import fit_recipe
from handful.job import Job
from handful.llm.engine import Engine
from handful.llm.sources import model_label
from handful.peers.fitting import check_peer
from handful.recipe import Recipe
from handful.recipe_file import change_recipe
from handful.task import Task


@dataclass(frozen=True)
class BenchmarkPlan:
    """Everything that decides a benchmark's numbers."""

    tasks: tuple[Task, ...]
    """With all their examples: each seed draws its handful from them."""
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    recipe: Recipe
    engine: Engine
    shots_per_label: int | None
    """The handful: examples drawn per label; None uses all the examples there are, with every seed."""
    full_epochs: int = 1
    """Passes over a whole training set, in place of the recipe's; of few texts more, see `TrainRecipe.min_steps`."""
    encoder: str | None = None
    """Sentence encoder of the peers; None is MiniLM."""

    def cells(self) -> Iterator[Cell]:
        """Yield the cells: task by task, seed by seed."""
        for task in self.tasks:
            for seed in self.seeds:
                for method in self.methods:
                    if method.most_seeds is None or seed < method.most_seeds:
                        yield Cell(self, task, method, seed)

    def check(self) -> None:
        """Raise a HandfulError if a cell cannot be measured: too few texts, no such key, a package that is missing."""
        if next(self.cells(), None) is None:
            mend = "A whole training set is measured with seed 0 alone, method@3 with seeds 0 to 2."
            raise RecipeError("no method is measured with these seeds", where="--seeds", mend=mend)
        strictest = max(self._checked_recipes(), key=lambda recipe: recipe.least_shots)
        least, otherwise = strictest.least_shots, f"judge without halves: {strictest.filter.one_shot_settings}."
        for task in self.tasks:
            if not task.test:
                mend = "Add `test: test.csv` to the task; `handful estimate` says what can be known without."
                raise TaskError("there are no test texts to measure on", where=task.source or task.name, mend=mend)
            written_from = [method.shots for method in self.methods if method.trained_on == "real_and_synthetic"]
            fewest = min((shots for shots in written_from if isinstance(shots, int)), default=least)
            if fewest < least:
                mend = f"Write {least} or more, or {otherwise}"
                raise TaskError(f"the judges need {least} examples per label", where="--methods", mend=mend)
            if self.shots_per_label is not None and self.shots_per_label < least:
                mend = f"Draw more, or {otherwise}"
                raise TaskError(f"the judges need {least} examples per label", where="--shots-per-label", mend=mend)
            task.require_shots(least)
            asked = {method.shots for method in self.methods if isinstance(method.shots, int)}
            for shots in sorted({self.shots_per_label or least, *asked}):
                most = max(len(task.examples_of(label)) for label in task.label_names)
                if shots > most:
                    message = f"no label has {shots} examples, the most is {most}"
                    mend = "Leave that method out." if shots in asked else "Ask for fewer with --shots-per-label."
                    raise TaskError(message, where=task.source or task.name, mend=mend)

    def _checked_recipes(self) -> list[Recipe]:
        """Return the recipe of every method, or raise a HandfulError."""
        recipes = []
        for method in self.methods:
            if method.peer is not None:
                check_peer(method.peer, self.encoder)
            recipes.append(change_recipe(self.recipe, method.changes))
            if method.trained_on == "real_and_synthetic" and not recipes[-1].generate.synthetic_per_label:
                mend = "Write lora_real for the examples alone."
                raise RecipeError(f"{method.key} has no written texts: N is 0", where="--methods", mend=mend)
        return recipes

    def identity(self) -> dict[str, Any]:
        """Return what a benchmark directory is compared by; methods, seeds and tasks may be added to it later."""
        return {
            "benchmark": 1,
            "recipe": self.recipe.to_dict(),
            "shots_per_label": self.shots_per_label,
            "full_epochs": self.full_epochs,
            "encoder": self.encoder,
            "model": model_label(self.engine.name),
            "model_fingerprint": self.engine.fingerprint(),
            **self.engine.arithmetic(),
        }


@dataclass(frozen=True)
class Cell:
    """One number of the table."""

    plan: BenchmarkPlan
    task: Task
    method: Method
    seed: int

    @property
    def name(self) -> str:
        """A name for people."""
        return f"{self.task.name}, {self.method.key}, seed {self.seed}"

    @cached_property
    def recipe(self) -> Recipe:
        """The plan's recipe, as the method changes it, with the N it has for what is written from."""
        recipe = fit_recipe(change_recipe(self.plan.recipe, self.method.changes), self._handful)
        if self.method.shots != "full":
            return recipe
        train = dataclasses.replace(recipe.train, epochs=self.plan.full_epochs, max_steps=None)
        return dataclasses.replace(recipe, train=train)

    @property
    def synthetic_per_label(self) -> int:
        """Synthetic examples per label that the method is tuned on at most."""
        written = self.recipe.generate.synthetic_per_label
        return min(written, self.method.first_synthetic or written)

    def handful(self) -> Job:
        """Return the job of the seed's handful: what is written from, judged with, and calibrated with.

        How the method trains is no part of it: methods that write and judge alike share their candidates.
        """
        return Job(self._handful, change_recipe(self.plan.recipe, self.writing_changes), self.seed, self.plan.engine)

    @cached_property
    def _handful(self) -> Task:
        shots = self._own_shots
        return self._drawn(self.plan.shots_per_label) if shots is None else self._at_most(shots)

    @property
    def handful_changes(self) -> tuple[str, ...]:
        """In what the handful and what is written from it differ from the plan's; none where candidates are shared."""
        return (*(() if self._own_shots is None else (f"shots_per_label={self._own_shots}",)), *self.writing_changes)

    @property
    def _own_shots(self) -> int | None:
        """Examples per label that the method has texts written from, where that is not the plan's handful."""
        shots = self.method.shots
        if not isinstance(shots, int) or self.method.trained_on != "real_and_synthetic":
            return None
        return None if shots == self.plan.shots_per_label else shots

    @property
    def writing_changes(self) -> tuple[str, ...]:
        """The method's changes to the recipe, as far as they touch the candidates."""
        return tuple(change for change in self.method.changes if not change.startswith(("train.", "classify.")))

    def job(self) -> Job:
        """Return the job of this cell's classifier: with the examples it is tuned on, shown, or fitted on."""
        shots = self.method.shots
        if shots == "full":
            task = self.task
        elif shots is not None:
            task = self._at_most(shots)
        else:
            task = self._drawn(self.plan.shots_per_label)
        return Job(task, self.recipe, self.seed, self.plan.engine)

    def _drawn(self, shots: int | None) -> Task:
        return self.task if shots is None else self._at_most(shots)

    def _at_most(self, shots: int) -> Task:
        """Return the task with so many examples of each label; rare labels give all they have."""
        return self.task.sample(shots, self.seed, at_most=True)
