from __future__ import annotations

from collections.abc import Sequence

import pytest

from handful.attributes import given_attributes, propose_topics
from handful.errors import RecipeError
from handful.llm.protocol import Generation, Sampling
from handful.llm.scripted import ScriptedLLM
from handful.prompts import Prompt
from handful.records import Attribute
from handful.task import Task
from tests.toys import small_recipe, two_label_task

LENGTH = {"length": ["short", "long"]}


class Proposing(ScriptedLLM):
    """A scripted LLM that answers with these lines in turn."""

    lines: tuple[str, ...] = (
        "1. The acting",
        "- acting.",
        "a topic that has many more words than a topic has",
        "",
        '"Music"',
        "plot",
    )

    def generate(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        sampling: Sampling,
        earlier: Sequence[Sequence[str]] | None = None,
    ) -> list[Generation]:
        return [Generation(self.lines[i % len(self.lines)], i % 6 != 5, 3) for i in range(len(prompts))]


def with_attributes() -> Task:
    task = two_label_task()
    return Task.create("films", list(task.labels), list(task.examples), attributes=LENGTH)


def test_attributes_of_the_task_are_those_of_every_label() -> None:
    recipe = small_recipe("generate.attributes=task")
    assert given_attributes(with_attributes(), recipe) == {
        label: (Attribute("length", ("short", "long")),) for label in ("good", "bad")
    }
    assert given_attributes(with_attributes(), small_recipe()) == {}


def test_wanting_attributes_the_task_does_not_name_is_said() -> None:
    with pytest.raises(RecipeError, match="names no attributes"):
        given_attributes(two_label_task(), small_recipe("generate.attributes=task"))


def test_topics_are_cleaned_distinct_short_and_finished() -> None:
    found = propose_topics(Proposing(), two_label_task(), small_recipe("generate.attribute_values=3"), 0)
    assert found == {label: (Attribute("topic", ("The acting", "acting", "Music")),) for label in ("good", "bad")}


def test_no_usable_topic_is_no_attribute() -> None:
    class Silent(Proposing):
        lines = ("",)

    found = propose_topics(Silent(), two_label_task(), small_recipe(), 0)
    assert found == {"good": (), "bad": ()}


def test_attributes_survive_the_task_s_mapping_and_count_in_its_fingerprint() -> None:
    task = with_attributes()
    assert Task.from_dict(task.to_dict()) == task
    assert task.fingerprint() != two_label_task(test=False).fingerprint()
