from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from handful.evaluation.methods import OURS
from handful.recipe import PRESETS
from handful.recipe_file import change_recipe
from handful.report import comparison
from handful.report.page import Verdict
from handful.report.run_data import RunData
from handful.report.verdict import verdict
from tests.report.samples import result_row, run_data


@dataclass
class Difference:
    mean: float
    low: float
    high: float
    p_value: float = 0.5


def judged_by(monkeypatch: pytest.MonkeyPatch, data: RunData, mean: float, low: float, high: float) -> Verdict:
    monkeypatch.setattr(comparison, "paired_difference", lambda a, b, seed: Difference(mean, low, high))
    return verdict(data)


def test_ours_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    said = judged_by(monkeypatch, run_data(), 0.1, 0.02, 0.18)
    assert said.headline == (
        "Use ours (2 + 21): on these 20 test texts it beats LoRA-2, the best other method, "
        "90\u00a0% right against 80\u00a0%: a difference of +10.0 points (95\u00a0% interval +2.0 to +18.0)."
    )
    assert said.details[0] == (
        "The classifier in adapter/ is ours, ready for use. A text takes 12.5 ms with ours, 12.5 ms with LoRA-2."
    )


def test_ours_is_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    said = judged_by(monkeypatch, run_data(wrong=(2, 4)), -0.1, -0.18, -0.02)
    assert said.headline.startswith(
        "Use LoRA-2, not ours (2 + 21): on these 20 test texts ours is worse, 80\u00a0% right"
    )
    assert "The classifier in adapter/ is ours all the same." in said.details[0]


def test_no_telling_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    said = judged_by(monkeypatch, run_data(), 0.1, -0.02, 0.22)
    assert said.headline == (
        "LoRA-2 and ours (2 + 21) cannot be told apart on these 20 test texts: ours is 90\u00a0% right against "
        "80\u00a0%, a difference of +10.0 points (95\u00a0% interval \u22122.0 to +22.0)."
    )
    assert "More test texts would narrow the interval." in said.details[0]


@pytest.mark.parametrize("wrong", [(4, 2), (4, 0)])
def test_with_the_real_interval(wrong: tuple[int, int]) -> None:
    assert "cannot be told apart on these 20 test texts" in verdict(run_data(wrong=wrong)).headline


def test_six_texts_that_only_ours_gets_right_are_enough() -> None:
    assert verdict(run_data(wrong=(6, 0))).headline.startswith("Use ours")


def test_guessing_is_called_guessing() -> None:
    data = run_data()
    assert data.results is not None
    rows = [result_row(row["method"], row["title"], 0.55, 20) for row in data.results["methods"]]
    said = verdict(dataclasses.replace(data, results={**data.results, "methods": rows}))
    assert said.details[0] == (
        "Neither is clearly better than guessing, or always giving the commonest label, "
        "which is right 50\u00a0% of the time."
    )


def test_the_commonest_label_alone_is_no_achievement() -> None:
    data = run_data()
    texts = [dataclasses.replace(example, label="good") for example in (data.task.test or ())[:18]]
    rare = dataclasses.replace(data.task, test=(*texts, *(data.task.test or ())[18:]))
    said = verdict(dataclasses.replace(data, task=rare))
    assert "which is right 95\u00a0% of the time" in said.details[0]


def test_nothing_measured() -> None:
    said = verdict(run_data(measured=False))
    assert said.headline.startswith("Nothing was measured: the task has no test texts, so how good the classifier is")
    assert said.details[0] == (
        "Of 20 texts the model wrote, 70\u00a0% were kept, 2 of them under another label. Fewer than the 72 wanted: "
        "“good” 7, “bad” 7."
    )
    assert "name them in the task file as `test:`" in said.details[1]


@pytest.mark.parametrize(("relabel", "n", "is_named"), [(True, 28, False), (True, 29, True), (False, 8, True)])
def test_a_label_is_short_of_texts_where_the_run_said_so(relabel: bool, n: int, is_named: bool) -> None:
    data = run_data(measured=False)
    recipe = change_recipe(
        PRESETS["default"], (f"generate.synthetic_per_label={n}", f"filter.relabel={str(relabel).lower()}")
    )
    said = verdict(dataclasses.replace(data, recipe=recipe.to_dict()))
    assert (f"Fewer than the {n} wanted" in said.details[0]) == is_named


def test_not_measured_yet() -> None:
    said = verdict(dataclasses.replace(run_data(), results=None, answers=None, training=()))
    assert said.headline == (
        "Not measured yet: how good what will be trained on these texts is will be known after `handful evaluate`."
    )


@pytest.mark.parametrize("kept", [OURS, "lora_real"])
def test_what_was_measured_alone_is_said(kept: str) -> None:
    """It was called "not measured yet", beside a table with its accuracy."""
    data = run_data()
    assert data.results is not None
    rows = [row for row in data.results["methods"] if row["method"] == kept]
    said = verdict(dataclasses.replace(data, results={**data.results, "methods": rows}))
    assert said.headline.startswith(f"{rows[0]['title']} is right on ")
    assert "of 20 test texts (95\u00a0% interval " in said.headline
    nothing = verdict(dataclasses.replace(data, results={**data.results, "methods": []}))
    assert nothing.headline.startswith("Not measured yet")


def test_a_rival_that_passes_ours_once_calibrated_is_named() -> None:
    data = run_data()
    assert data.results is not None
    after = {"lora_real": 0.95, OURS: None}
    rows = [{**row, "calibrated_accuracy": after[row["method"]]} for row in data.results["methods"]]
    said = verdict(dataclasses.replace(data, results={**data.results, "methods": rows}))
    assert said.details[2] == (
        "LoRA-2 with its label prior taken out, as the written texts show it, is right on 95\u00a0%, ours as it "
        "answers on 90\u00a0%."
    )
