from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handful.encoding import encode_text
from handful.in_context_tuning import judge_plan
from handful.llm.loading import LoadedModel, load_model
from handful.prompts import classification_prefix, targets
from handful.recipe import PromptRecipe, TrainRecipe
from handful.records import TrainingExample
from handful.row_encoding import EncodedRow, encode_rows, label_trie_of
from handful.task import Task
from handful.training_plan import TrainingPlan
from tests.toys import many_label_task, single_token_task, small_recipe, two_label_task


@pytest.fixture(scope="module")
def loaded(tiny_model_dir: Path) -> LoadedModel:
    return load_model(str(tiny_model_dir), device="cpu")


def plan_of(task: Task, rows: tuple[TrainingExample, ...] = (), **train: Any) -> TrainingPlan:
    rows = rows or tuple(TrainingExample(example.text, example.label, "real") for example in task.examples)
    recipe = TrainRecipe(**train)
    return TrainingPlan(
        classification_prefix(task), targets(task), task.label_names, rows, recipe, PromptRecipe(), seed=0
    )


def rows_of(loaded: LoadedModel, plan: TrainingPlan) -> list[EncodedRow]:
    return encode_rows(loaded, plan, label_trie_of(loaded, plan))[0]


def test_every_epoch_has_every_row_once_in_another_order(loaded: LoadedModel) -> None:
    plan = plan_of(two_label_task(), batch_size=3)
    rows, batches = encode_rows(loaded, plan, label_trie_of(loaded, plan))
    epochs = [[row for step in range(3) for row in batches(3 * epoch + step)] for epoch in range(2)]
    assert [len(batches(step)) for step in range(6)] == [3, 3, 2] * 2
    assert Counter(epochs[0]) == Counter(epochs[1]) == Counter(rows)
    assert epochs[0] != epochs[1]


def test_the_order_is_the_seeds(loaded: LoadedModel) -> None:
    plan = plan_of(two_label_task(), batch_size=8)
    trie = label_trie_of(loaded, plan)
    first, again, other = (encode_rows(loaded, replace(plan, seed=seed), trie)[1](0) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_row_is_its_text_behind_the_prompt_and_its_label(loaded: LoadedModel) -> None:
    task = two_label_task()
    first, *_, last = rows_of(loaded, plan_of(task))
    assert first.target_ids == (*encode_text(" positive", loaded.tokenizer), *encode_text("\n", loaded.tokenizer))
    assert (first.soft_target, last.soft_target) == ((1.0, 0.0), (0.0, 1.0))
    assert first.prompt.prefix_ids == last.prompt.prefix_ids
    text, read = encode_text(" a lovely warm story", loaded.tokenizer), list(first.prompt.suffix_ids)
    assert any(read[start : start + len(text)] == text for start in range(len(read)))


@pytest.mark.parametrize("task", [two_label_task(), single_token_task()])
def test_what_a_row_takes_is_what_its_loss_reads(loaded: LoadedModel, task: Task) -> None:
    for row in rows_of(loaded, plan_of(task)):
        assert row.n_tokens == len(row.prompt.suffix_ids) + len(row.nodes)
    for row in rows_of(loaded, plan_of(task, loss="next_token")):
        assert row.n_tokens == len(row.prompt.suffix_ids) + len(row.target_ids)


def test_of_few_labels_all_are_read_and_learnt(loaded: LoadedModel) -> None:
    task = Task.create(
        "few", ["good old thing", "bad red thing"], [("good", "good old thing"), ("bad", "bad red thing")]
    )
    written = TrainingExample("dull", "bad red thing", "synthetic", 0.5, (0.01, 0.99))
    plan = plan_of(task, (written, TrainingExample("dull", "bad red thing", "real")))
    soft, hard = rows_of(loaded, plan)
    assert (soft.soft_target, soft.weight) == ((0.01, 0.99), 0.5)
    assert soft.nodes == hard.nodes == tuple(range(label_trie_of(loaded, plan).n_nodes))


def test_of_many_nodes_those_are_read_that_a_text_may_have(loaded: LoadedModel) -> None:
    task = many_label_task()
    soft = (0.6, 0.3, 0.092, *[0.008 / 69] * 69)  # the last ones have less than 2 % of the first one's
    rows = (
        TrainingExample("dull", task.label_names[0], "synthetic", 1.0, soft),
        TrainingExample("dull", task.label_names[5], "real"),
    )
    plan = plan_of(task, rows)
    trie = label_trie_of(loaded, plan)
    assert not trie.is_small
    unsure, real = rows_of(loaded, plan)
    assert unsure.soft_target == pytest.approx((0.6 / 0.992, 0.3 / 0.992, 0.092 / 0.992, *[0.0] * 69))
    assert unsure.nodes == trie.nodes_of([0, 1, 2])
    assert real.nodes == trie.nodes_of([5])
    assert len(real.nodes) < len(unsure.nodes) < trie.n_nodes


def test_an_episode_is_a_batch_behind_its_own_prompt(loaded: LoadedModel) -> None:
    plan = judge_plan(two_label_task(), small_recipe("filter.judge_epochs=2"), 0)
    rows, batches = encode_rows(loaded, plan, label_trie_of(loaded, plan))
    assert rows == []
    steps = [batches(step) for step in range(plan.n_steps)]
    assert [len(step) for step in steps] == [len(episode.rows) for episode in plan.episodes]
    for step in steps:
        assert len({row.prompt.prefix_ids for row in step}) == 1
    assert len({step[0].prompt.prefix_ids for step in steps}) > 1
