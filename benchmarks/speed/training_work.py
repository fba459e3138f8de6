"""The same tuning steps on both sides: our `train_adapter`, and Trainer + peft."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.speed.alternate import Comparison, Measurement, alternate
from benchmarks.speed.hf_train import HfSettings, Row
from benchmarks.speed.hf_train import train as hf_train
from benchmarks.speed.models import MODEL, load_base
from benchmarks.speed.settings import DisagreementError, Settings
from benchmarks.speed.texts import SEED, examples_of, few_shot_task
from handful.encoding import encode, encode_text
from handful.errors import Interrupted
from handful.job import Job
from handful.llm.engine import open_engine
from handful.prompts import classification_prompt
from handful.recipe import PRESETS
from handful.recipe_file import change_recipe
from handful.records import TrainingExample
from handful.seeding import stream
from handful.train import train_adapter
from handful.training_plan import TrainingPlan
from handful.tuning import classifier_plan

_SYNTHETIC = 21
"""Per class, in place of which other real examples stand: only their length matters here."""
_WARM = 2
"""Steps that are not timed."""
_STEPS = 6
_TOLERANCE = 2e-3
"""Of the loss of one example before the first update, in nats."""


def plan_of(name: str, recipe_name: str) -> TrainingPlan:
    """Return a set's 4 + 21 examples per class, every one of weight 1, to be learnt as a recipe says, in all layers."""
    task = few_shot_task(name)
    extra = [example for label in task.label_names for example in examples_of(name, label, _SYNTHETIC)]
    rows = [TrainingExample(example.text, example.label, "real", 1.0) for example in (*task.examples, *extra)]
    recipe = change_recipe(PRESETS[recipe_name], ("train.lora_layer_share=1",))  # as peft tunes: in all layers
    job = Job(task, recipe, SEED, open_engine(MODEL, device="cpu"))
    return classifier_plan(job, rows)


def our_steps(plan: TrainingPlan, n_steps: int) -> tuple[list[float], list[float]]:
    """Take some steps of our training; returns when each ended and its loss."""
    ends: list[float] = []
    losses: list[float] = []

    def on_step(step: int, _: int, loss: float) -> bool:
        ends.append(time.perf_counter())
        losses.append(loss)
        return step >= n_steps

    with contextlib.suppress(Interrupted):  # after the steps asked for
        train_adapter(load_base(), plan, on_step=on_step)
    return ends, losses


def their_steps(plan: TrainingPlan, n_steps: int) -> tuple[list[float], list[float]]:
    """Take the same steps with Trainer + peft: rows in our order."""
    loaded = load_base()
    clock = hf_train(loaded.model, rows_in_order(plan, n_steps, loaded.tokenizer), _hf_settings(plan, loaded), n_steps)
    return clock.ends, clock.losses


def rows_in_order(plan: TrainingPlan, n_steps: int, tokenizer: Any) -> list[Row]:
    """Return the rows of the first steps as our training takes them (see `train.py`), whole batches alone."""
    size, n_rows = plan.train.batch_size, len(plan.rows)
    order: list[int] = []
    for epoch in range(n_steps):
        drawn = stream(plan.seed, "train-order", epoch).sample(range(n_rows), n_rows)
        order += drawn
        if len(order) >= n_steps * size:
            break
    return [_row(plan, plan.rows[index], tokenizer) for index in order[: n_steps * size]]


def _row(plan: TrainingPlan, example: TrainingExample, tokenizer: Any) -> Row:
    label = plan.labels.index(example.label)
    prompt = encode(
        classification_prompt(plan.prefix, example.text), tokenizer, max_text_tokens=plan.prompt.max_text_tokens
    )
    target = [*encode_text(plan.targets[label], tokenizer), *encode_text("\n", tokenizer)]
    return Row([*prompt.prefix_ids, *prompt.suffix_ids], target, label)


def _hf_settings(plan: TrainingPlan, loaded: Any) -> HfSettings:
    recipe = plan.train
    return HfSettings(
        loss=recipe.loss,
        label_ids=tuple(encode_text(target, loaded.tokenizer)[0] for target in plan.targets),
        pad=loaded.tokenizer.pad_token_id,
        target_modules="all-linear" if recipe.lora_target_modules == "all-linear" else ["q_proj", "v_proj"],
        rank=recipe.lora_rank,
        alpha=recipe.lora_alpha,
        dropout=recipe.lora_dropout,
        learning_rate=recipe.learning_rate,
        max_grad_norm=recipe.max_grad_norm or 0.0,
        batch_size=recipe.batch_size,
    )


def compare(name: str, recipe_name: str, settings: Settings) -> tuple[Comparison, dict[str, Any]]:
    """Time steps of both sides; the work is examples, one an epoch each."""
    plan = plan_of(name, recipe_name)
    warm, steps = (1, 2) if settings.quick else (_WARM, _STEPS)
    facts = {"first_loss": require_same_loss(plan), "steps": steps, "batch_size": plan.train.batch_size}

    def measured(ends: Sequence[float]) -> Measurement:
        return Measurement(steps * plan.train.batch_size, ends[warm + steps - 1] - ends[warm - 1])

    comparison = alternate(
        f"Trainer + peft, {recipe_name}, {name}",
        lambda _: measured(our_steps(plan, warm + steps)[0]),
        lambda _: measured(their_steps(plan, warm + steps)[0]),
        settings.repeats,
    )
    return comparison, facts


def require_same_loss(plan: TrainingPlan) -> list[float]:
    """Return both sides' loss of one example before any update.

    Raises:
        DisagreementError: They differ: not the same is learnt.
    """
    one = dataclasses.replace(plan, rows=plan.rows[:1], train=dataclasses.replace(plan.train, batch_size=1))
    losses = [our_steps(one, 1)[1][0], their_steps(one, 1)[1][0]]
    if abs(losses[0] - losses[1]) > _TOLERANCE:
        raise DisagreementError(f"the loss of one example is {losses[0]:.5f} here and {losses[1]:.5f} there")
    return losses


def compare_sets(recipe_name: str, settings: Settings) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the ratio by set, and all measurements."""
    ratios: dict[str, float] = {}
    measurements: dict[str, Any] = {}
    for name in ("trec", "ag_news"):
        comparison, facts = compare(name, recipe_name, settings)
        ratios[name] = comparison.ratio
        measurements[name] = {**comparison.to_dict(), **facts}
    return ratios, measurements
