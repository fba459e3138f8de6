from __future__ import annotations

from collections import Counter

import pytest

from handful.in_context_tuning import shown_of, split_halves, tuning_plan
from handful.prompts import classification_prefix
from handful.seeding import stream
from handful.task import Task
from handful.training_plan import Episode
from tests.toys import small_recipe, two_label_task


def task_of(labels: int, shots: int, size: int = 20, filling: str = "x") -> Task:
    """A task of texts of so many letters, or a few more."""
    names = [f"label{index}" for index in range(labels)]
    return Task.create(
        "t", names, [(f"{name} {i} {filling * (size - 10)}", name) for name in names for i in range(shots)]
    )


def shown_in(task: Task, episode: Episode) -> Counter[str]:
    pieces = [segment.text.strip() for segment in episode.prefix if segment.is_example]
    return Counter(e.label for e in task.examples if any(e.text.startswith(piece) for piece in pieces))


def test_an_episode_asks_for_what_it_does_not_show() -> None:
    task = two_label_task()
    plan = tuning_plan(task, small_recipe("filter.judge_epochs=15", "filter.judge_max_steps=null"), 0)
    assert plan.n_steps == len(plan.episodes) == 30
    for episode in plan.episodes:
        asked = Counter(row.label for row in episode.rows)
        assert shown_in(task, episode) == asked == {"good": 2, "bad": 2}
        pieces = [segment.text for segment in episode.prefix]
        assert not any(f" {row.text}" in pieces for row in episode.rows)
    assert {row.text for episode in plan.episodes for row in episode.rows} == {e.text for e in task.examples}
    assert len({episode.prefix for episode in plan.episodes}) > 20


def test_the_plan_is_the_judges_own() -> None:
    task = two_label_task()
    recipe = small_recipe("filter.judge_learning_rate=0.01", "filter.judge_epochs=2", "train.learning_rate=0.5")
    plan = tuning_plan(task, recipe, 0)
    assert plan.train.learning_rate == 0.01
    assert plan == tuning_plan(task, small_recipe("filter.judge_learning_rate=0.01", "filter.judge_epochs=2"), 0)
    assert plan.episodes != tuning_plan(task, recipe, 1).episodes
    longer = tuning_plan(task, small_recipe("filter.judge_learning_rate=0.01", "filter.judge_epochs=3"), 0)
    assert longer.episodes[:4] == plan.episodes


@pytest.mark.parametrize("shots", [2, 3, 4, 5])
def test_halves(shots: int) -> None:
    task = task_of(3, shots)
    larger = Counter[int]()
    for seed in range(40):
        halves = split_halves(task, stream(seed, "x"))
        assert sorted(e.text for half in halves for e in half) == sorted(e.text for e in task.examples)
        for half in halves:
            counts = Counter(e.label for e in half)
            assert len(counts) == 3
            assert set(counts.values()) <= {shots // 2, (shots + 1) // 2}
        larger[len(halves[0]) - len(halves[1])] += 1
    assert len(larger) == (1 if shots % 2 == 0 else 4)


@pytest.mark.parametrize(
    ("labels", "shots", "size", "filling", "shown", "asked"),
    [
        (6, 4, 50, "x", 12, 12),
        (4, 4, 240, "x", 4, 8),
        (77, 4, 20, "x", 77, 100),
        (2, 100, 50, "x", 20, 40),
        (2, 4, 3000, "x", 2, 1),
        (2, 100, 50, "文", 6, 15),  # three bytes each, and no spaces to count words by
    ],
)
def test_many_labels_many_examples_and_long_texts_are_held_in_bounds(
    labels: int, shots: int, size: int, filling: str, shown: int, asked: int
) -> None:
    task = task_of(labels, shots, size, filling)
    episode = tuning_plan(task, small_recipe("filter.judge_epochs=1"), 0).episodes[0]
    counts = shown_in(task, episode)
    assert len(counts) == labels
    assert counts.total() == shown
    assert len(episode.rows) == asked
    half = split_halves(task, stream(0, "x"))[0]
    assert len(shown_of(task, half)) == shown
    assert {example.text[:8] for example in shown_of(task, half)} <= {example.text[:8] for example in half}


def test_the_prompt_is_the_classifiers_with_demonstrations() -> None:
    task = two_label_task()
    episode = tuning_plan(task, small_recipe("filter.judge_epochs=1"), 0).episodes[0]
    by_text = {f" {example.text}": example for example in task.examples}
    shown = [by_text[segment.text] for segment in episode.prefix if segment.text in by_text]
    assert episode.prefix == classification_prefix(task, shown)


@pytest.mark.parametrize(("labels", "n_bytes"), [(2, 1000), (8, 250), (53, 100)])
def test_where_one_example_of_each_label_is_too_much_each_keeps_its_beginning(labels: int, n_bytes: int) -> None:
    words = " many words 文字 of two languages" * 40
    names = [f"label{index}" for index in range(labels)]
    task = Task.create("t", names, [(f"{name} {i}{words}", name) for name in names for i in range(2)])
    half, _ = split_halves(task, stream(0, "x"))
    for whole, part in zip(half, shown_of(task, half), strict=True):
        assert part.label == whole.label
        assert whole.text.startswith(part.text)
        assert n_bytes - 2 <= len(part.text.encode()) <= n_bytes


@pytest.mark.parametrize(
    ("labels", "shots", "changes", "steps", "askings"),
    [
        (2, 4, (), 20, 80),
        (6, 4, (), 20, 240),
        (20, 4, (), 20, 800),
        (53, 4, (), 24, 24 * 53),
        (2, 100, (), 24, 24 * 40),
        (77, 25, (), 50, 50 * 77),
        (2, 100, ("filter.judge_max_steps=null",), 50, 2000),
        (2, 100, ("filter.judge_epochs=2",), 10, 400),
        (2, 100, ("filter.judge_max_steps=40",), 40, 1600),
    ],
)
def test_many_examples_are_asked_for_less_often_each(
    labels: int, shots: int, changes: tuple[str, ...], steps: int, askings: int
) -> None:
    plan = tuning_plan(task_of(labels, shots, 50), small_recipe("filter.judge_epochs=10", *changes), 0)
    assert plan.n_steps == steps
    assert sum(len(episode.rows) for episode in plan.episodes) == askings
