"""Options that several commands share, declared once; and the task, recipe and engine they choose."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

import typer

from handful.errors import TaskError

if TYPE_CHECKING:
    from handful.job import Job
    from handful.llm.engine import Engine
    from handful.recipe import Recipe
    from handful.task import Task

DeviceChoice = Literal["auto", "cpu", "cuda", "mps"]
DtypeChoice = Literal["auto", "float32", "bfloat16", "float16"]
PrecisionChoice = Literal["float32", "bfloat16", "int8"]
MOST_SHOTS = 64
"""Examples per label that are used without being asked for: handful is made for a handful."""
PAPER_SHOTS = 4
"""Examples per label drawn from one of the paper's sets, as in the paper."""

_MOST_NAME_BYTES = 255
"""Of one file or folder; a letter may have four."""


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """Which settings, and which of the texts."""

    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="paper, default, fast, accurate, or a YAML file.")
    ] = "default"
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="STAGE.KEY=VALUE", help="Change one setting; repeatable.")
    ] = None
    shots_per_label: Annotated[
        int | None,
        typer.Option(
            help="Draw so many examples per label; a rarer one gives all it has (default: all; 4 for a paper set).",
            min=1,
        ),
    ] = None
    test_limit: Annotated[
        int | None, typer.Option(help="Test on a sample of so many texts; the same for every seed.", min=1)
    ] = None
    data: Annotated[
        Path | None, typer.Option(help="Folder of the paper's sets (default: the variable HANDFUL_DATA).")
    ] = None

    def load_recipe(self) -> Recipe:
        """Return the recipe as changed.

        Raises:
            RecipeError: It is not usable.
        """
        from handful.recipe_file import load_recipe

        return load_recipe(self.recipe, tuple(self.changes or ()))


@dataclass(frozen=True, kw_only=True)
class TaskOptions(RecipeOptions):
    """Which texts, which settings."""

    task: Annotated[str, typer.Argument(help="A task file (YAML), or one of the paper's sets: sst2, trec, ag_news.")]
    seed: Annotated[int, typer.Option(help="Seed of every random choice.", min=0)] = 0

    def load_task(self, recipe: Recipe) -> Task:
        """Return the task with the examples and test texts asked for.

        Raises:
            HandfulError: The task is not usable, or has too few or too many examples.
        """
        task = _drawn(self, named_task(self.task, self.data))
        if self.test_limit is not None:
            task = limit_test(task, self.test_limit)
        try:
            task.require_shots(recipe.least_shots)
        except TaskError as error:
            why = (
                f"Recipe {recipe.name!r} shows its judge half of a label's examples at a time; with one example per "
                f"label, pass {recipe.filter.one_shot_settings}."
            )
            raise TaskError(error.message, where=error.where, mend=f"{error.mend} {why}") from None
        return task


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model, and how the work is kept and told."""

    model: Annotated[
        str, typer.Option(help="Hub id (name@revision), directory, .gguf file, smollm2-135m, or scripted (a dry run).")
    ] = "smollm2-135m"
    device: Annotated[DeviceChoice, typer.Option(help="Where the model runs.")] = "auto"
    dtype: Annotated[
        DtypeChoice,
        typer.Option(
            help="Float type of the weights; auto also tunes in bfloat16 where the CPU has instructions for it."
        ),
    ] = "auto"
    load_in_4bit: Annotated[bool, typer.Option("--load-in-4bit", help="Quantise the base model (bitsandbytes).")] = (
        False
    )
    precision: Annotated[
        PrecisionChoice,
        typer.Option(help="Of matrix products on a CPU, in writing and answering; bfloat16 and int8 are quicker."),
    ] = "float32"
    force: Annotated[
        bool, typer.Option("--force", help="Keep another run in the directory as old-<n>, start anew.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Events as JSON lines on stdout, and nothing else.")] = False

    def open_engine(self) -> Engine:
        """Return the engine of the model; it is loaded when first used."""
        from handful.llm.engine import open_engine

        return open_engine(
            self.model,
            device=self.device,
            dtype=self.dtype,
            load_in_4bit=self.load_in_4bit,
            precision=self.precision,
        )


@dataclass(frozen=True, kw_only=True)
class JobOptions(TaskOptions, ModelOptions):
    """Which model, and where the run goes."""

    run: Annotated[
        Path | None,
        typer.Option("--run", "--run-dir", "-o", help="Run directory (default: runs/<task>-<recipe>-seed<seed>)."),
    ] = None

    def make_job(self) -> Job:
        """Return everything that decides the results.

        Raises:
            HandfulError: Task, recipe or model are not usable.
        """
        from handful.job import Job

        recipe = self.load_recipe()
        return Job(self.load_task(recipe), recipe, self.seed, self.open_engine())

    def run_directory(self, job: Job) -> Path:
        """Return the run directory asked for, or the one named after the job."""
        if self.run is not None:
            return self.run
        name, recipe = (re.sub(r"[^\w.-]+", "-", part).strip(".-") for part in (job.task.name, job.recipe.name))
        return Path("runs") / _short_enough(f"{name or 'task'}-{recipe or 'recipe'}-seed{job.seed}")


def _short_enough(name: str) -> str:
    """Return the name of a folder, or its beginning with a hash behind where no file system takes one so long."""
    from handful.run import fingerprint

    if len(name.encode()) <= _MOST_NAME_BYTES:
        return name
    behind = f"-{fingerprint(name)}"
    return name.encode()[: _MOST_NAME_BYTES - len(behind)].decode(errors="ignore") + behind


def limit_test(task: Task, limit: int) -> Task:
    """Return the task with a sample of its test texts, in their order.

    The sample depends on nothing but the task and the number, so that runs of several seeds are measured on the
    same texts.
    """
    from handful.seeding import stream

    texts = task.test or ()
    if limit >= len(texts):
        return task
    places = sorted(stream(0, "test-limit", limit).sample(range(len(texts)), limit))
    return task.tested_on([texts[place] for place in places])


def named_task(name: str, data: Path | None) -> Task:
    """Return one of the paper's sets, from the folder `data`, or the task of a file, with all their examples.

    Raises:
        HandfulError: It is not usable.
    """
    from handful.paper_sets import PAPER_SETS, load_paper_set
    from handful.reading.wording import did_you_mean
    from handful.task import load_task

    if name in PAPER_SETS:
        return load_paper_set(name, data)
    try:
        return load_task(name)
    except TaskError as error:
        guess = did_you_mean(name, PAPER_SETS)
        if not guess or Path(name).exists():
            raise
        raise TaskError(error.message, where=error.where, mend=guess) from None


def _drawn(options: TaskOptions, task: Task) -> Task:
    from handful.paper_sets import PAPER_SETS

    shots = options.shots_per_label
    if shots is None and options.task in PAPER_SETS:
        shots = PAPER_SHOTS
    if shots is not None:
        return _sampled(task, shots, options.seed)
    require_handful(task)
    return task


def _sampled(task: Task, shots: int, seed: int) -> Task:
    """Draw so many examples of each label; where some label has as many, a rarer one gives all it has."""
    warnings = rare_labels(task, shots)
    drawn = task.sample(shots, seed, at_most=bool(warnings))
    return dataclasses.replace(drawn, warnings=(*drawn.warnings, *warnings))


def rare_labels(task: Task, shots: int) -> tuple[str, ...]:
    """Return a warning that names the labels with fewer examples than are drawn; none where no label has as many."""
    counts = Counter(example.label for example in task.examples)
    fewer = [f"{counts[name]} of {name!r}" for name in task.label_names if counts[name] < shots]
    if not 0 < len(fewer) < len(task.label_names):
        return ()
    return (f"there are fewer than {shots} examples of some labels, all of them are used: {', '.join(fewer)}",)


def require_handful(task: Task) -> None:
    """Raise TaskError if a label has more examples than are used without being asked for."""
    label, most = Counter(example.label for example in task.examples).most_common(1)[0]
    if most > MOST_SHOTS:
        raise TaskError(
            f"label {label!r} has {most:,} examples; handful is made for a handful (at most {MOST_SHOTS} per label)",
            where=task.source,
            mend="Say how many to draw, for example --shots-per-label 4.",
        )


Options = TypeVar("Options")


def takes(options: type[Options]) -> Callable[[Callable[[Options], int | None]], Callable[..., int | None]]:
    """Decorate a command that takes one dataclass of options: its fields become the command's parameters."""

    def decorate(command: Callable[[Options], int | None]) -> Callable[..., int | None]:
        hints = get_type_hints(options, include_extras=True)
        parameters = [
            inspect.Parameter(
                entry.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if entry.default is dataclasses.MISSING else entry.default,
                annotation=hints[entry.name],
            )
            for entry in dataclasses.fields(options)  # type: ignore[arg-type]  # a dataclass by contract
        ]

        @functools.wraps(command)
        def with_parameters(**values: Any) -> int | None:
            return command(options(**values))

        signature: Any = inspect.Signature(parameters)
        with_parameters.__signature__ = signature  # type: ignore[attr-defined]
        with_parameters.__annotations__ = {entry.name: entry.annotation for entry in parameters}
        del with_parameters.__wrapped__
        return with_parameters

    return decorate
