from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from handful.in_context_tuning import episode, judge_plan, shown_of, split_halves
from handful.prompts import classification_prefix
from handful.records import Example
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
    """Count the examples that stand whole in a prompt, by label."""
    pieces = [segment.text for segment in episode.prefix if segment.is_example]
    return Counter(e.label for e in task.examples if f" {e.text}" in pieces)


def test_an_episode_asks_for_what_it_does_not_show() -> None:
    task = two_label_task()
    plan = judge_plan(task, small_recipe("filter.judge_epochs=15", "filter.judge_max_steps=null"), 0)
    assert plan.n_steps == len(plan.episodes) == 30
    for own in plan.episodes:
        asked = Counter(row.label for row in own.rows)
        assert shown_in(task, own) == asked == {"good": 2, "bad": 2}
        pieces = [segment.text for segment in own.prefix]
        assert not any(f" {row.text}" in pieces for row in own.rows)
    assert {row.text for own in plan.episodes for row in own.rows} == {e.text for e in task.examples}
    assert len({own.prefix for own in plan.episodes}) > 20


@pytest.mark.parametrize("words", [1, 60, 400])
def test_a_judge_hears_as_much_of_every_label(words: int) -> None:
    task = two_label_task()
    assert {row.weight for row in episode(task, 0, 0).rows} == {1.0}
    more = [Example(f"another lovely film, number {n}" + " and on" * words, "good") for n in range(56)]
    uneven = dataclasses.replace(task, examples=(*task.examples, *more))
    asked: Counter[str] = Counter()
    for step in range(30):
        rows = episode(uneven, 0, step).rows
        asked.update(row.text for row in rows)
        of_label = [sum(row.weight for row in rows if row.label == label) for label in ("good", "bad")]
        assert of_label == pytest.approx([len(rows) / 2] * 2)
    assert set(asked) >= {example.text for example in task.examples_of("bad")}
    assert len(asked) > 20


def test_the_plan_is_the_judges_own() -> None:
    task = two_label_task()
    recipe = small_recipe("filter.judge_learning_rate=0.01", "filter.judge_epochs=2", "train.learning_rate=0.5")
    plan = judge_plan(task, recipe, 0)
    assert plan.train.learning_rate == 0.01
    assert plan == judge_plan(task, small_recipe("filter.judge_learning_rate=0.01", "filter.judge_epochs=2"), 0)
    assert plan.episodes != judge_plan(task, recipe, 1).episodes
    longer = judge_plan(task, small_recipe("filter.judge_learning_rate=0.01", "filter.judge_epochs=3"), 0)
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
        (53, 4, 50, "x", 53, 53),
        (20, 4, 80, "x", 20, 25),
        (20, 4, 100, "x", 20, 20),
        (25, 25, 50, "x", 25, 39),
        (2, 100, 50, "x", 20, 40),
        (2, 100, 50, "文", 6, 15),  # three bytes each, and no spaces to count words by
    ],
)
def test_many_labels_and_many_examples_are_held_in_bounds(
    labels: int, shots: int, size: int, filling: str, shown: int, asked: int
) -> None:
    task = task_of(labels, shots, size, filling)
    episode = judge_plan(task, small_recipe("filter.judge_epochs=1"), 0).episodes[0]
    counts = shown_in(task, episode)
    assert len(counts) == labels
    assert counts.total() == shown
    assert len(episode.rows) == asked
    half = split_halves(task, stream(0, "x"))[0]
    assert len(shown_of(task, half)) == shown
    assert set(shown_of(task, half)) <= set(half)


@pytest.mark.parametrize(
    ("labels", "size", "n_bytes", "asked"),
    [
        (2, 3000, 1000, 2),
        (2, 2500, 1000, 2),
        (8, 270, 250, 8),
        (20, 220, 100, 18),
        (20, 210, 100, 19),
        (53, 220, 100, 18),
    ],
)
def test_where_demonstrations_are_too_much_each_is_shown_its_beginning(
    labels: int, size: int, n_bytes: int, asked: int
) -> None:
    task = task_of(labels, 4, size)
    half, _ = split_halves(task, stream(0, "x"))
    shown = shown_of(task, half)
    assert Counter(example.label for example in shown) == dict.fromkeys(task.label_names, 1)
    for part in shown:
        assert len(part.text) == n_bytes
        assert any(e.label == part.label and e.text.startswith(part.text) for e in half)
    assert len(judge_plan(task, small_recipe(), 0).episodes[0].rows) == asked


def test_only_the_longest_are_shown_in_part() -> None:
    rows = [(f"{index} {'x' * (1400 if index < 2 else 40)}", f"l{index}") for index in range(20) for _ in range(2)]
    task = Task.create("t", None, [(f"{text} {n}", label) for n, (text, label) in enumerate(rows)])
    shown = shown_of(task, split_halves(task, stream(0, "x"))[0])
    assert sorted(len(e.text) for e in shown)[:18] == sorted(len(e.text) for e in shown if int(e.text.split()[0]) > 1)
    assert all(e in task.examples for e in shown if int(e.text.split()[0]) > 1)
    assert 1970 <= sum(len(e.text) for e in shown) <= 2002
    assert 570 <= max(len(e.text) for e in shown) <= 615


@pytest.mark.parametrize(
    "text", ["文字" * 400, "👩‍🚀 é" * 200, f"start{' ' * 3000}{'middle ' * 300}end", "\n" * 3000 + "only"]
)
def test_what_is_cut_keeps_whole_characters_and_counts_no_white_space(text: str) -> None:
    task = Task.create(
        "t", ["a", "b"], [(f"{mark}{text}", label) for label in "ab" for mark in (f"{label}1", f"{label}2")]
    )
    for size in range(3):  # at three offsets, so that some cut falls within a character
        longer = Task.create("t", ["a", "b"], [(e.text + "z" * size, e.label) for e in task.examples])
        for part in shown_of(longer, split_halves(longer, stream(0, "x"))[0]):
            (whole,) = (e.text for e in longer.examples if e.text[:2] == part.text[:2])
            assert " ".join(part.text.split())
            assert " ".join(whole.split()).startswith(" ".join(part.text.split()))
            assert 990 <= len(part.text.encode()) <= 1000 or part.text == whole


def test_the_prompt_is_the_classifiers_with_demonstrations() -> None:
    task = two_label_task()
    episode = judge_plan(task, small_recipe("filter.judge_epochs=1"), 0).episodes[0]
    by_text = {f" {example.text}": example for example in task.examples}
    shown = [by_text[segment.text] for segment in episode.prefix if segment.text in by_text]
    assert episode.prefix == classification_prefix(task, shown)


@pytest.mark.parametrize(
    ("labels", "shots", "size", "limit", "steps", "asked"),
    [
        (2, 4, 50, "24", 20, 4),
        (6, 4, 50, "24", 20, 12),
        (20, 4, 50, "24", 20, 40),
        (53, 4, 50, "24", 40, 53),
        (30, 4, 100, "24", 30, 30),  # one for each label
        (2, 100, 50, "24", 25, 40),
        (77, 25, 50, "24", 125, 77),
        (4, 25, 240, "24", 63, 8),  # five epochs
        (25, 25, 50, "24", 81, 39),  # and a piece of a step
        (2, 4, 3000, "24", 40, 2),  # eighty askings
        (6, 25, 2000, "24", 125, 2),  # five epochs would be 375 steps of long texts
        (140, 4, 3000, "24", 140, 2),  # one for each label
        (2, 4, 50, "1", 20, 4),
        (2, 100, 50, "null", 50, 40),
        (2, 100, 50, "40", 40, 40),
    ],
)
def test_many_examples_are_asked_for_less_often_each(
    labels: int, shots: int, size: int, limit: str, steps: int, asked: int
) -> None:
    recipe = small_recipe("filter.judge_epochs=10", f"filter.judge_max_steps={limit}")
    plan = judge_plan(task_of(labels, shots, size), recipe, 0)
    assert plan.n_steps == len(plan.episodes) == steps
    assert {len(episode.rows) for episode in plan.episodes} == {asked}
    spaced = Task.create(
        "t", None, [(e.text.replace(" ", " " * 900, 1), e.label) for e in task_of(labels, shots, size).examples]
    )
    assert judge_plan(spaced, recipe, 0).n_steps == steps


def test_one_very_long_example_does_not_leave_the_others_unasked() -> None:
    rows = [
        (f"{label} {n} {'word ' * (19_000 if (label, n) == ('a', 0) else 8)}", label)
        for label in "ab"
        for n in range(4)
    ]
    plan = judge_plan(Task.create("t", None, rows), small_recipe("filter.judge_epochs=10"), 0)
    assert len(plan.episodes[0].rows) == 4
    assert plan.n_steps == 20
