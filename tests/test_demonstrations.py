from collections import Counter

import pytest

from handful.demonstrations import in_random_order, judge_examples, split_folds, writer_demonstrations
from handful.records import Example
from handful.task import Task


def task_of(shots: int) -> Task:
    return Task.create("t", ["a", "b"], [(f"{label} text {i}", label) for label in "ab" for i in range(shots)])


@pytest.mark.parametrize("shots", [2, 3, 4, 5])
def test_folds_part_the_examples(shots: int) -> None:
    task = task_of(shots)
    folds = split_folds(task, 0, cross_fit=True)
    assert len(folds) == 2
    assert sorted(e.text for fold in folds for e in fold) == sorted(e.text for e in task.examples)
    for fold in folds:
        counts = Counter(example.label for example in fold)
        assert set(counts) == {"a", "b"}
        assert max(counts.values()) - min(counts.values()) == 0
        assert [e.label for e in fold] == sorted(e.label for e in fold)


def test_without_cross_fit_there_is_one_fold_of_all() -> None:
    task = task_of(3)
    assert split_folds(task, 5, cross_fit=False) == (task.examples,)


def test_folds_do_not_depend_on_the_order_of_the_file() -> None:
    task = task_of(4)
    turned = Task.create("t", ["a", "b"], [(e.text, e.label) for e in reversed(task.examples)])
    assert split_folds(task, 1, cross_fit=True) == split_folds(turned, 1, cross_fit=True)
    assert any(split_folds(task, 0, cross_fit=True) != split_folds(task, seed, cross_fit=True) for seed in range(1, 9))


def test_judge_is_never_shown_the_writers_fold() -> None:
    folds = split_folds(task_of(4), 0, cross_fit=True)
    for written_from in (0, 1):
        shown = judge_examples(folds, written_from, 0)
        assert not set(shown) & set(folds[written_from])
        assert set(shown) == set(folds[1 - written_from])
        assert set(judge_examples(folds, written_from, 0, 1)) == set(shown)
    assert any(judge_examples(folds, 0, s, 1) != judge_examples(folds, 0, s) for s in range(5))


def test_one_fold_judges_with_all() -> None:
    task = task_of(4)
    folds = split_folds(task, 0, cross_fit=False)
    assert sorted(judge_examples(folds, 0, 0), key=str) == sorted(task.examples, key=str)


def test_writer_draws_of_its_label_without_repeats() -> None:
    fold = task_of(6).examples
    seen: set[Example] = set()
    for batch in range(20):
        drawn = writer_demonstrations(fold, "b", 2, 0, 0, batch)
        assert len(set(drawn)) == 2
        assert {example.label for example in drawn} == {"b"}
        seen |= set(drawn)
    assert len(seen) == 6
    assert len(writer_demonstrations(fold, "b", None, 0, 0)) == 6
    assert len(writer_demonstrations(fold, "b", 50, 0, 0)) == 6


def test_order_is_random_but_fixed() -> None:
    examples = task_of(8).examples
    orders = {tuple(in_random_order(examples, seed, "x")) for seed in range(5)}
    assert len(orders) == 5
    assert all(sorted(order, key=str) == sorted(examples, key=str) for order in orders)
    assert in_random_order(examples, 3, "x") == in_random_order(examples, 3, "x")
