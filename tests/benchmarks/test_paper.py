"""The settings of the paper, as they ship."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from handful.evaluation.methods import methods_of
from handful.recipe import PRESETS
from handful.recipe_file import load_recipe

FOLDER = Path(__file__).parents[2] / "benchmarks" / "paper"


@pytest.mark.parametrize(("size", "batch_size"), [("7b", 8), ("13b", 2)])
def test_the_recipe_is_the_paper_s_with_the_batch_of_its_model(size: str, batch_size: int) -> None:
    recipe = load_recipe(str(FOLDER / f"vicuna-{size}.yaml"))
    paper = PRESETS["paper"]
    train = dataclasses.replace(paper.train, batch_size=batch_size)
    assert recipe == dataclasses.replace(paper, name=f"paper-{size}", train=train)
    assert (train.lora_rank, train.lora_alpha, train.lora_dropout, train.epochs) == (8, 32, 0.1, 100)
    assert (recipe.generate.temperature, recipe.generate.top_k, recipe.generate.synthetic_per_label) == (1.0, 50, 21)


def test_the_script_names_methods_that_exist() -> None:
    found = re.search(r"--methods (\S+)", (FOLDER / "run.sh").read_text())
    assert found is not None
    assert [method.key for method in methods_of(found[1])][:3] == ["zero_shot", "in_context", "lora_real"]
