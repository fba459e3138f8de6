import dataclasses

import pytest

from handful.recipe import PromptRecipe, TrainRecipe
from handful.recipe_file import load_recipe
from handful.records import TrainingExample
from handful.training_plan import TrainingPlan


def plan_of(rows: int, **train: int) -> TrainingPlan:
    recipe = dataclasses.replace(TrainRecipe(), **train)  # type: ignore[arg-type]
    examples = tuple(TrainingExample(str(i), "a", "real") for i in range(rows))
    return TrainingPlan((), (" a",), ("a",), examples, recipe, PromptRecipe(), 0)


@pytest.mark.parametrize(
    ("rows", "train", "expected"),
    [
        (8, {"batch_size": 8, "epochs": 12, "min_steps": 0}, (1, 12, 12)),
        (8, {"batch_size": 8, "epochs": 12, "min_steps": 60}, (1, 60, 60)),
        (9, {"batch_size": 8, "epochs": 12, "min_steps": 60}, (2, 30, 60)),
        (100, {"batch_size": 8, "epochs": 12, "min_steps": 60}, (13, 12, 156)),
        (200, {"batch_size": 8, "epochs": 12, "min_steps": 60}, (25, 12, 200)),
        (17, {"batch_size": 8, "epochs": 1, "min_steps": 7}, (3, 3, 9)),
        (100, {"batch_size": 8, "epochs": 12, "min_steps": 60, "max_steps": 100}, (13, 12, 100)),
        (2000, {"batch_size": 8, "epochs": 2, "min_steps": 60, "max_steps": 100}, (250, 2, 250)),
        (8, {"batch_size": 8, "epochs": 12, "min_steps": 100, "max_steps": 100}, (1, 100, 100)),
    ],
)
def test_steps(rows: int, train: dict[str, int], expected: tuple[int, int, int]) -> None:
    plan = plan_of(rows, **train)
    assert (plan.steps_per_epoch, plan.epochs, plan.n_steps) == expected


@pytest.mark.parametrize(
    ("n_labels", "epochs", "expected"), [(22, 8, 250), (23, 8, 750), (23, 2, 500), (77, None, 750)]
)
def test_many_labels_take_three_epochs_if_the_recipe_has_them(n_labels: int, epochs: int | None, expected: int) -> None:
    train = {} if epochs is None else {"epochs": epochs}
    labels = tuple(map(str, range(n_labels)))
    plan = dataclasses.replace(plan_of(2000, **train), labels=labels, targets=labels)
    assert plan.n_steps == expected
    assert dataclasses.replace(plan, train=dataclasses.replace(plan.train, max_steps=1000)).n_steps == min(
        1000, plan.epochs * 250
    )


@pytest.mark.parametrize(
    ("text", "train", "expected"),
    [
        ("x" * 90, {}, 200),
        ("x" * 180, {}, 100),
        ("é" * 90, {}, 100),  # bytes count: tokens in any script
        ("\ud800" * 60, {}, 100),  # half a character of a JSON file: three bytes
        ("x" * 180, {"max_steps": 600, "epochs": 40}, 300),
        (" " * 90 + "x" * 90 + "\n" * 90, {}, 200),  # white space is read as one space
        ("x" * 1000, {}, 60),  # min_steps
        ("x" * 1000, {"min_steps": 0}, 38),  # one epoch
        ("x" * 2000, {"max_steps": 6000, "epochs": 400}, 270),
        ("x" * 9000, {"max_steps": 6000, "epochs": 400}, 270),  # no more of them is read
    ],
)
def test_of_long_texts_fewer_steps_read_as_much(text: str, train: dict[str, int], expected: int) -> None:
    plan = plan_of(300, **train)
    rows = tuple(dataclasses.replace(row, text=text) for row in plan.rows)
    assert dataclasses.replace(plan, rows=rows).n_steps == expected


def test_without_a_most_all_epochs_are_taken_of_long_texts_too() -> None:
    plan = plan_of(300)
    rows = tuple(dataclasses.replace(row, text="x" * 900) for row in plan.rows)
    recipe = dataclasses.replace(plan.train, max_steps=None)
    assert dataclasses.replace(plan, rows=rows, train=recipe).n_steps == 8 * 38


def test_many_real_examples_take_no_more_steps_than_were_set_by_hand() -> None:
    rows = (TrainingExample("x", "a", "real"),) * 150 + (TrainingExample("x", "a", "synthetic"),) * 144
    plan = dataclasses.replace(plan_of(1), rows=rows)
    expected = {"default": 222, "accurate": 296, "fast": 185}
    for name, n_steps in expected.items():
        assert dataclasses.replace(plan, train=load_recipe(name).train).n_steps == n_steps
    for most in (60, 100, 199):
        train = load_recipe("default", (f"train.max_steps={most}",)).train
        assert dataclasses.replace(plan, train=train).n_steps == most


@pytest.mark.parametrize(
    ("real", "written", "size", "expected"),
    [
        (150, 422, 5, 432),  # 25 of each of six labels: six passes of 72 steps
        (24, 432, 5, 200),  # four of each
        (150, 0, 5, 152),  # alone, eight epochs
        (600, 432, 5, 344),  # passed as often as in the 200 steps that they take alone
        (100, 144, 240, 75),  # of long texts no more are read: 179 steps make no better classifier
        (150, 30, 5, 184),  # eight epochs are more
    ],
)
def test_many_real_examples_are_passed_as_if_they_were_alone(real: int, written: int, size: int, expected: int) -> None:
    """25 real questions of each label beside 72 written ones made a worse classifier than the 25 alone."""
    rows = [TrainingExample("x" * size, "a", "real")] * real + [TrainingExample("x" * size, "a", "synthetic")] * written
    plan = dataclasses.replace(plan_of(1, epochs=8, batch_size=8, min_steps=60, max_steps=200), rows=tuple(rows))
    assert plan.n_steps == expected
