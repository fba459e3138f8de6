"""`handful init` and `handful check`: a task file, and what a run of it would do."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from handful.cli.console import say, show_table, tell_warning
from handful.cli.options import TaskOptions, takes
from handful.errors import TaskError

if TYPE_CHECKING:
    from handful.planning import Plan
    from handful.recipe import Recipe
    from handful.task import Task


@dataclass(frozen=True)
class InitOptions:
    """Which examples, which task file."""

    examples: Annotated[Path, typer.Argument(help="Labelled texts: CSV, TSV, JSONL or Parquet.")]
    output: Annotated[Path, typer.Option("--output", "-o", help="The task file to write.")] = Path("task.yaml")
    name: Annotated[str | None, typer.Option(help="Name of the task (default: of the file of examples).")] = None
    text_column: Annotated[str, typer.Option(help="Column of the text.")] = "text"
    label_column: Annotated[str, typer.Option(help="Column of the label.")] = "label"
    force: Annotated[bool, typer.Option("--force", help="Replace the task file if it is there.")] = False


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("init")(_init)
    app.command("check")(_check)


@takes(InitOptions)
def _init(options: InitOptions) -> None:
    """Write a task file for your labelled examples."""
    from handful.reading.readers import read_examples
    from handful.reading.task_template import task_template
    from handful.storage.files import write_atomic

    where = str(options.output)
    if options.output.is_dir():
        raise TaskError("this is a folder", where=where, mend="Name the task file to write in it.")
    if options.output.exists() and options.examples.exists() and options.output.samefile(options.examples):
        raise TaskError("this is the file of examples", where=where, mend="Name another file for the task.")
    if str(options.examples) == "-":
        mend = "Save the examples in a file: the task file names it."
        raise TaskError("a task cannot be made of standard input", where="-", mend=mend)
    if options.output.exists() and not options.force:
        raise TaskError("the file is there already", where=where, mend="Name another with -o, or pass --force.")
    if not options.output.parent.is_dir():
        raise TaskError("its folder does not exist", where=where, mend="Make the folder, or name another file.")
    examples = read_examples(options.examples, text_column=options.text_column, label_column=options.label_column)
    # A link keeps its own name: files are read by their endings, and what it leads to may have another.
    given = options.examples.parent.resolve() / options.examples.name
    beside = os.path.relpath(given, options.output.parent.resolve())
    template = task_template(examples, Path(beside).as_posix(), options.name or options.examples.stem)
    for key, value in (("text_column", options.text_column), ("label_column", options.label_column)):
        template = _with_column(template, key, value)
    write_atomic(options.output, template.encode())
    counts = Counter(example.label for example in examples)
    say(f"{where}: {len(counts)} labels, {len(examples)} examples")
    say("Next:")
    say("  1. Say in the file what a text is, and describe each label: the model reads both when it writes.")
    say(f"  2. {shlex.join(['handful', 'check', where])}")
    say(f"  3. {shlex.join(['handful', 'run', where])}")


def _with_column(template: str, key: str, value: str) -> str:
    from handful.reading.task_template import quoted

    default = key.partition("_")[0]
    return template if value == default else template.replace(f"# {key}: {default}", f"{key}: {quoted(value)}")


@takes(TaskOptions)
def _check(options: TaskOptions) -> None:
    """Check a task and say what a run of it would do."""
    from handful.attributes import given_attributes
    from handful.fitted_recipe import fit_recipe
    from handful.planning import make_plan, warnings_of

    recipe = options.load_recipe()
    task = options.load_task(recipe)
    given_attributes(task, recipe)
    asked, recipe = recipe, fit_recipe(recipe, task)
    _show_task(task)
    for warning in task.warnings:
        tell_warning(warning)
    plan = make_plan(task, recipe)
    for warning in warnings_of(plan, recipe):
        tell_warning(warning)
    _show_plan(plan, recipe, asked, len(task.labels))


def _show_task(task: Task) -> None:
    examples = Counter(example.label for example in task.examples)
    tests = Counter(example.label for example in task.test or ())
    cells = {
        "label": [label.name for label in task.labels],
        "verbalizer": [label.verbalizer for label in task.labels],
        "examples": [str(examples[label.name]) for label in task.labels],
        "test texts": [str(tests[label.name] or "-") for label in task.labels],
        "description": [label.description or "-" for label in task.labels],
    }
    told = {title: column for title, column in cells.items() if set(column) != {"-"} and column != cells["label"]}
    told = {"label": cells["label"], **told}
    rows = [list(row) for row in zip(*told.values(), strict=True)]
    show_table(list(told), rows, title=f"Task {task.name}")


def _show_plan(plan: Plan, recipe: Recipe, asked: Recipe, n_labels: int) -> None:
    n, usual = (own.generate.synthetic_per_label for own in (recipe, asked))
    most = asked.generate.synthetic_in_all
    say(f"With recipe {recipe.name}:")
    if n < usual:
        why = "texts are long" if most is None or n < most // n_labels else f"{most:,} in all"
        say(f"  N        {n} for each label, not {usual}: {why}")
        say("           (--set generate.synthetic_per_label=... is not held to it)")
    if n:
        say(f"  write    {plan.candidates:,} texts from {plan.prompts:,} prompts in round 1")
        say(f"           (about {plan.prompt_tokens:,} tokens a prompt, {plan.written_tokens:,} written tokens)")
    else:
        say("  write    nothing: your examples alone are learnt")
    if plan.most_candidates > plan.candidates:
        say(f"           and what is missing in later ones, up to {plan.most_candidates:,} in all")
    say(f"  train    {plan.training_steps:,} steps on up to {plan.training_examples:,} examples")
    time = f"{plan.minutes:.0f} min" if plan.minutes < 180 else f"{plan.minutes / 60:,.0f} h"
    say(f"  takes    about {time} or more and {plan.memory_bytes / 1e9:.1f} GB of memory")
    say("           (estimates, for smollm2-135m on two CPU cores, at 1.3 tokens a word)")
    say("The task is fine.")
