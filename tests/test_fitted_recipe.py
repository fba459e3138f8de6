"""A label gets fewer texts where there are many labels or where texts are long, unless the user gave a number."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from handful.fitted_recipe import example_bytes, fit_recipe, n_of_length
from handful.recipe import PRESETS
from handful.recipe_file import load_recipe
from handful.task import Task


def task_of(n_labels: int, *n_bytes: int) -> Task:
    """Return a task with a text of each length for every label; of four bytes without any."""
    names = [f"label{index}" for index in range(n_labels)]
    examples = [
        (f"{index:04d}" + "x" * (size - 4), name) for size in n_bytes or (4,) for index, name in enumerate(names)
    ]
    return Task.create("any", names, examples)


@pytest.mark.parametrize(
    ("preset", "n_labels", "n_bytes", "expected"),
    [
        ("default", 2, 4, 72),
        ("default", 22, 4, 72),
        ("default", 23, 4, 69),
        ("default", 77, 4, 20),
        ("default", 1000, 4, 1),
        ("default", 4, 150, 72),
        ("default", 4, 151, 36),
        ("default", 4, 300, 36),
        ("default", 4, 301, 20),
        ("default", 4, 2000, 20),
        ("default", 40, 151, 36),
        ("default", 50, 151, 32),
        ("default", 100, 2000, 16),
        ("fast", 33, 4, 24),
        ("fast", 53, 4, 15),
        ("fast", 4, 151, 20),
        ("accurate", 33, 4, 144),
        ("accurate", 77, 4, 62),
        ("accurate", 4, 236, 72),
        ("paper", 77, 4, 21),
        ("paper", 4, 2000, 21),
    ],
)
def test_of_many_labels_and_of_long_texts_each_gets_fewer(
    preset: str, n_labels: int, n_bytes: int, expected: int
) -> None:
    recipe, task = PRESETS[preset], task_of(n_labels, n_bytes)
    fitted = fit_recipe(recipe, task)
    assert fitted.generate.synthetic_per_label == expected
    assert fit_recipe(fitted, task) == fitted
    kept = {key: getattr(recipe.generate, key) for key in ("synthetic_per_label", "synthetic_in_all")}
    assert fitted.generate.synthetic_in_all is None
    assert dataclasses.replace(fitted, generate=dataclasses.replace(fitted.generate, **kept)) == recipe


def test_a_small_number_is_not_raised_where_texts_are_long() -> None:
    assert [n_of_length(n, 1000.0) for n in (1, 19, 20, 21, 39, 41)] == [1, 19, 20, 20, 20, 20]


def test_a_text_is_as_long_as_what_is_read_of_it() -> None:
    task = task_of(2, 100, 100_000)
    assert example_bytes(task, PRESETS["default"]) == (100 + 4 * 512) / 2
    shorter = load_recipe("default", ("prompt.max_text_tokens=50",))
    assert example_bytes(task, shorter) == (100 + 200) / 2
    assert fit_recipe(shorter, task).generate.synthetic_per_label == 72


def test_a_number_that_is_given_holds_for_any_task(tmp_path: Path) -> None:
    task = task_of(77, 200)

    def fitted(spec: str, *overrides: str) -> int:
        return fit_recipe(load_recipe(spec, overrides), task).generate.synthetic_per_label

    assert fitted("default", "generate.synthetic_per_label=50") == 50
    assert fitted("default", "generate.synthetic_per_label=50", "generate.synthetic_in_all=770") == 10
    assert fitted("default", "generate.synthetic_in_all=null") == 72
    path = tmp_path / "own.yaml"
    path.write_text("generate: {synthetic_per_label: 60}\n")
    assert fitted(str(path)) == 60
    assert fitted("default", "generate.synthetic_in_all=5") == 1
    path.write_text("generate: {synthetic_in_all: 500}\n")
    assert fitted(str(path)) == 6
    assert fitted(str(path), "generate.synthetic_per_label=50") == 50


def test_white_space_that_is_not_read_is_not_counted() -> None:
    code = Task.create("any", ["a", "b"], [("if x:\n" + " " * 200 + "y", "a"), ("z", "b")])
    assert example_bytes(code, PRESETS["default"]) == 4
