"""What the texts are asked to differ in: attributes of the task file, or topics the LLM proposes (Yu et al. 2023)."""

from __future__ import annotations

import re

from handful.errors import RecipeError
from handful.llm.protocol import LLM, Sampling
from handful.prompts import topic_prompt
from handful.recipe import Recipe
from handful.records import Attribute
from handful.seeding import derive_seed
from handful.task import Task

_TOPIC = "topic"
_PROPOSALS_PER_VALUE = 4
_MOST_WORDS = 6
_MOST_TOKENS = 12
_MARKER = re.compile(r"^\s*(?:[-*\u2022]|\d{1,2}[.)])\s*")


def given_attributes(task: Task, recipe: Recipe) -> dict[str, tuple[Attribute, ...]]:
    """Return the attributes of every label that are known without asking the LLM; none if the recipe wants none.

    Raises:
        RecipeError: The recipe wants the task's, and it has none.
    """
    if recipe.generate.attributes != "task":
        return {}
    if not task.attributes:
        mend = "Add `attributes: {length: [short, long]}` to the task, or set generate.attributes to llm or none."
        raise RecipeError("the task names no attributes", where="generate.attributes=task", mend=mend)
    return dict.fromkeys(task.label_names, task.attributes)


def propose_topics(llm: LLM, task: Task, recipe: Recipe, seed: int) -> dict[str, tuple[Attribute, ...]]:
    """Ask the LLM for topics of each label's texts; a label for which none is usable has no attribute.

    Raises:
        ModelError: A prompt does not fit the model.
    """
    wanted = recipe.generate.attribute_values
    count = wanted * _PROPOSALS_PER_VALUE
    places = [(label, index) for label in task.label_names for index in range(count)]
    prompts = {label: topic_prompt(task, label, recipe.prompt.format) for label in task.label_names}
    seeds = [derive_seed(seed, "topics", label, index) for label, index in places]
    sampling = Sampling(_MOST_TOKENS, recipe.generate.temperature, recipe.generate.top_k)
    lines = llm.generate([prompts[label] for label, _ in places], seeds, sampling)
    topics: dict[str, dict[str, str]] = {label: {} for label in task.label_names}
    for (label, _), line in zip(places, lines, strict=True):
        topic = _MARKER.sub("", line.text).strip(" .,;:!?\"'*")
        if line.finished and topic and len(topic.split()) <= _MOST_WORDS and len(topics[label]) < wanted:
            topics[label].setdefault(topic.casefold(), topic)
    return {label: (Attribute(_TOPIC, tuple(found.values())),) if found else () for label, found in topics.items()}
