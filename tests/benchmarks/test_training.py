from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.speed import training_work
from benchmarks.speed.settings import DisagreementError
from benchmarks.speed.training_work import our_steps, require_same_loss, rows_in_order, their_steps
from handful.llm.engine import open_engine
from handful.llm.loading import load_model
from handful.recipe import PRESETS
from handful.training_plan import TrainingPlan
from handful.training_set import real_rows
from handful.tuning import classifier_plan
from tests.toys import job_of, single_token_task


def plan(recipe: str, tiny_model_dir: Path) -> TrainingPlan:
    job = job_of(single_token_task(), open_engine(str(tiny_model_dir), device="cpu"))
    made = classifier_plan(job, real_rows(job.task, job.recipe))
    rows = tuple(replace(row, weight=1.0) for row in made.rows)
    return replace(made, rows=rows, train=replace(PRESETS[recipe].train, batch_size=2, lora_dropout=0.0))


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_trainer_learns_what_we_learn(recipe: str, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_work, "load_base", lambda: load_model(str(tiny_model_dir), device="cpu"))
    made = plan(recipe, tiny_model_dir)
    ours, theirs = require_same_loss(made)
    assert ours == pytest.approx(theirs, abs=1e-3)
    ends, losses = our_steps(made, 4)
    their_ends, their_losses = their_steps(made, 4)
    assert len(ends) == len(their_ends) == len(losses) == len(their_losses) == 4
    assert ends == sorted(ends)
    other = replace(made, rows=made.rows[-1:])
    monkeypatch.setattr(training_work, "their_steps", lambda _, steps: their_steps(replace(other, train=replace(
        other.train, batch_size=1)), steps))  # fmt: skip
    with pytest.raises(DisagreementError, match="the loss of one example"):
        require_same_loss(made)


def test_rows_come_in_the_order_of_our_training(tiny_model_dir: Path) -> None:
    made = plan("default", tiny_model_dir)
    loaded = load_model(str(tiny_model_dir), device="cpu")
    rows = rows_in_order(made, 6, loaded.tokenizer)
    assert len(rows) == 12
    assert set(Counter(tuple(row.prompt) for row in rows).values()) == {2}
    assert all(len(row.target) == 2 for row in rows)
