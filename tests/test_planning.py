"""The plan is arithmetic: what it counts exactly must be what the stages do."""

from __future__ import annotations

import dataclasses

import pytest

from handful.planning import _Step, make_plan, warnings_of
from handful.recipe import PRESETS
from handful.task import Task


def task(texts: int = 4, words: int = 10, test: int = 0) -> Task:
    rows = [(f"{' word' * words} {label}{n}", label) for label in ("a", "b", "c") for n in range(texts)]
    return Task.create("t", None, rows, test=[(f"held out {n}", "a") for n in range(test)] or None)


def test_counts_of_the_default_recipe() -> None:
    plan = make_plan(task(), PRESETS["default"])
    # 72 wanted at a hoped rate of a half: all of the 96 texts there may be, in three batches of 32 per label.
    assert (plan.prompts, plan.candidates, plan.most_candidates) == (9, 288, 288)
    assert plan.training_examples == 3 * (4 + 72)
    assert plan.training_steps == 200


def test_fewer_steps_are_planned_where_texts_are_long() -> None:
    assert make_plan(task(words=52), PRESETS["default"]).training_steps == 200 * 90 // 263  # 52 words, and "a0"


def test_white_space_that_is_not_read_plans_no_fewer_steps() -> None:
    rows = [(f"if {label}{n}:\n{' ' * 300}pass", label) for label in ("a", "b", "c") for n in range(4)]
    assert make_plan(Task.create("code", None, rows), PRESETS["default"]).training_steps == 200


def test_counts_of_the_paper() -> None:
    plan = make_plan(task(), PRESETS["paper"])
    assert plan.training_steps == 100 * 10


def test_estimates_grow_with_what_they_are_of() -> None:
    recipe = PRESETS["default"]
    small, long, measured = (
        make_plan(task(), recipe),
        make_plan(task(words=100), recipe),
        make_plan(task(test=500), recipe),
    )
    assert long.written_tokens > 5 * small.written_tokens
    assert long.minutes > small.minutes
    assert long.memory_bytes > small.memory_bytes
    assert measured.minutes > small.minutes
    more = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, max_steps=300))
    assert make_plan(task(), more).minutes > small.minutes
    judges = dataclasses.replace(recipe, filter=dataclasses.replace(recipe.filter, judges=6))
    untuned = dataclasses.replace(recipe, filter=dataclasses.replace(recipe.filter, judge="in_context"))
    assert make_plan(task(), judges).minutes > small.minutes > make_plan(task(), untuned).minutes
    assert small.memory_bytes == pytest.approx(1.9e9, rel=0.2)


def test_what_will_not_fit_is_said() -> None:
    recipe = PRESETS["default"]
    assert warnings_of(make_plan(task(), recipe), recipe) == []
    long = make_plan(task(words=500), recipe)
    (cut,) = warnings_of(long, recipe)
    assert cut.startswith("12 examples are probably longer than 512 tokens")
    assert 400 * 1.3 < long.judge_prompt_tokens < 400 * 1.3 + 100  # a tuned judge is shown 2,000 bytes of "word "
    rows = [(f"{' word' * 500} {label}{n}", f"l{label}") for label in range(30) for n in range(4)]
    plan = make_plan(Task.create("t", None, rows), recipe)
    assert len(warnings_of(plan, recipe)) == 1
    assert plan.written_tokens == plan.candidates * 512
    paper = PRESETS["paper"]
    said = warnings_of(make_plan(Task.create("t", None, rows), paper), paper)[1]
    assert said.startswith("a judge's prompt has about 62,")
    assert "max_text_tokens" in said
    many = [(f"{' word' * 50} {label}{n}", f"l{label}") for label in range(400) for n in range(2)]
    said = warnings_of(make_plan(Task.create("t", None, many), recipe), recipe)[0]
    assert said.startswith("a judge's prompt has about 1")
    assert "shorten the labels" in said


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGH"


@pytest.mark.parametrize(
    ("verbalizers", "expected"),
    [
        ([f"w{c}" for c in LETTERS[:20]], 0),
        ([f"some_word_{c}" for c in LETTERS[:20]], 4),
        ([f"w of more words {c}" for c in LETTERS[:20]], 4),
        ([f"{c}w of" for c in LETTERS[:32]], 32),
        ([f"{c}w of" for c in LETTERS[:33]], 0),
        ([f"\u4e00\u4e01{chr(0x4E10 + n)}" for n in range(20)], 2),
        (["customer service", "customerservice"], 1),
        (["one  word", "one word", "word"], 1),
        ([f"{a} {b} {c}" for a in "abcdef" for b in "abcdef" for c in "ab"], 42),
    ],
)
def test_tokens_of_the_labels_are_read_where_they_part(verbalizers: list[str], expected: int) -> None:
    labels = {f"l{n}": {"verbalizer": own} for n, own in enumerate(verbalizers)}
    rows = [(f"some words {label}{n}", label) for label in labels for n in range(4)]
    recipe = PRESETS["default"]
    plan, without = (
        make_plan(Task.create("t", labels, rows), recipe),
        make_plan(Task.create("t", list(labels), rows), recipe),
    )
    assert plan.label_tokens == expected
    if expected < 33:
        assert warnings_of(plan, recipe) == []
    else:
        assert plan.minutes > without.minutes
        assert warnings_of(plan, recipe)[0].startswith("about 42 tokens of the labels are read behind every text")


def test_the_pool_is_read_up_to_its_limit_and_half_of_the_layers_take_half_of_a_step() -> None:
    recipe = PRESETS["default"]
    whole = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, lora_layer_share=1.0))
    assert make_plan(task(), whole).minutes > make_plan(task(), recipe).minutes
    # The judges' step is the largest.
    assert make_plan(task(), whole).memory_bytes == make_plan(task(), recipe).memory_bytes
    untuned = dataclasses.replace(recipe.filter, judge="in_context", judges=1)
    sizes = [dataclasses.replace(recipe.generate, synthetic_per_label=n) for n in (72, 144)]
    more, most = (dataclasses.replace(recipe, filter=untuned, generate=generate) for generate in sizes)
    measured = [make_plan(task(test=1), r).minutes - make_plan(task(), r).minutes for r in (more, most)]
    assert measured[0] == pytest.approx(measured[1])


def test_of_the_examples_alone_no_judge_is_planned_and_nothing_is_tuned_twice() -> None:
    recipe = PRESETS["default"]
    alone = dataclasses.replace(recipe, generate=dataclasses.replace(recipe.generate, synthetic_per_label=0))
    plan, tested = make_plan(task(), alone), make_plan(task(test=1), alone)
    assert (plan.candidates, plan.judge_prompt_tokens, plan.training_examples) == (0, 0, 12)
    # One test text by three methods, no second training.
    assert 0 < tested.minutes - plan.minutes < 0.01


def test_a_judge_in_context_is_shown_the_other_fold_alone() -> None:
    recipe = PRESETS["default"]
    judged = dataclasses.replace(recipe.filter, judge="in_context", judges=1)
    whole, half = (dataclasses.replace(recipe, filter=dataclasses.replace(judged, cross_fit=c)) for c in (False, True))
    tokens = [make_plan(task(), own).judge_prompt_tokens for own in (whole, half)]
    assert tokens[1] < 0.7 * tokens[0]


def test_characters_of_scripts_without_spaces_count_as_words() -> None:
    long = "今天天气很好" * 100
    rows = [(f"{long}{label}{n}", f"l{label}") for label in range(2) for n in range(4)]
    plan = make_plan(Task.create("t", None, rows), PRESETS["default"])
    assert plan.cut_examples == 8
    assert "8 examples are probably longer than 512 tokens" in warnings_of(plan, PRESETS["default"])[0]


@pytest.mark.parametrize(("word", "least"), [("नमस्ते", 5), ("안녕하세요", 7), ("word", 1.2)])
def test_words_of_other_scripts_have_more_tokens(word: str, least: float) -> None:
    """Of SmolLM2's vocabulary 91 Hindi words are 446 tokens, and were planned as 118."""
    rows = [(f"{word} " * 60 + f"{label}{n}", label) for label in "ab" for n in range(4)]
    plan = make_plan(Task.create("t", None, rows), PRESETS["default"])
    assert plan.written_tokens / plan.candidates > 60 * least


def test_labels_of_other_scripts_have_more_tokens_than_words() -> None:
    labels = [f"카드 배송 지연 문의 요청 {n}" for n in range(77)]
    rows = [
        (f"카드가 아직 도착하지 않았는데 언제쯤 받을 수 있는지 알고 싶습니다 {label} {n}", label)
        for label in labels
        for n in range(4)
    ]
    plan = make_plan(Task.create("t", None, rows), PRESETS["default"])
    assert plan.judge_prompt_tokens > 7000  # by words 2,818 were planned


def test_a_long_prefix_is_read_for_every_row_of_a_step() -> None:
    """Judges of 77 labels read 9,000 tokens a step where 5,000 were planned."""
    step = _Step(prefix_tokens=900, text_tokens=2697)
    assert (step.read_tokens, step.kept_tokens) == (3 * 900 + 2697, 900 + 1024)
    short = _Step(prefix_tokens=389, text_tokens=667)
    assert short.read_tokens == short.kept_tokens == 389 + 667
    # Behind a long one they stand in one row, of which little is kept and much computed twice.
    long = _Step(prefix_tokens=2186, text_tokens=2697)
    assert long.read_tokens == pytest.approx((2186 + 2697) * 4 / 3)
    assert long.kept_tokens < 1000
