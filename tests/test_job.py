from __future__ import annotations

from handful.job import Job
from handful.llm.engine import ScriptedEngine
from handful.recipe_file import load_recipe
from tests.toys import many_label_task, two_label_task


def test_a_job_has_the_number_of_texts_of_its_labels() -> None:
    few, many = (Job(task, load_recipe(), 0, ScriptedEngine()) for task in (two_label_task(), many_label_task()))
    assert (few.recipe.generate.synthetic_per_label, many.recipe.generate.synthetic_per_label) == (72, 22)
    again = Job(many.task, many.recipe, 0, ScriptedEngine())
    assert again == many
    given = Job(many.task, load_recipe("default", ("generate.synthetic_per_label=22",)), 0, ScriptedEngine())
    assert given.identity() == many.identity()
