from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from handful.demonstrations import split_folds
from handful.generate import Batch, Tally, generate_candidates, max_new_tokens, plan_round
from handful.llm.protocol import Generation, Sampling
from handful.prompts import Prompt
from handful.records import Attribute, Candidate
from handful.task import Task
from tests.toys import RecordingLLM, small_recipe, two_label_task


def written(*overrides: str, batch: Batch | None = None, seed: int = 0) -> tuple[list[Candidate], RecordingLLM]:
    task, recipe, llm = two_label_task(), small_recipe("filter.cross_fit=true", *overrides), RecordingLLM()
    folds = split_folds(task, seed, cross_fit=recipe.filter.cross_fit)
    chosen = batch or Batch(0, "good", 0, 0, 4)
    return generate_candidates(llm, task, recipe, [chosen], folds, seed), llm


def test_batches_written_together_are_the_same_as_apart() -> None:
    task, recipe = two_label_task(), small_recipe()
    folds = split_folds(task, 0, cross_fit=True)
    batches = [Batch(0, label, index, index % 2, 3) for label in task.label_names for index in range(3)]
    together = generate_candidates(RecordingLLM(), task, recipe, batches, folds, 0)
    apart = [c for batch in batches for c in generate_candidates(RecordingLLM(), task, recipe, [batch], folds, 0)]
    assert together == apart
    assert len({c.id for c in together}) == 18


def test_candidates_carry_their_place() -> None:
    candidates, llm = written(batch=Batch(2, "bad", 1, 1, 3))
    assert [c.id for c in candidates] == ["2-1-8", "2-1-9", "2-1-10"]
    assert {(c.intended_label, c.fold) for c in candidates} == {("bad", 1)}
    ((_, seeds, sampling),) = llm.generated
    assert tuple(c.seed for c in candidates) == seeds
    assert len(set(seeds)) == 3
    assert (sampling.max_new_tokens, sampling.temperature, sampling.top_k, sampling.num_beams) == (20, 1.0, 50, 1)


def test_candidates_carry_what_the_model_wrote() -> None:
    candidates, llm = written()
    ((prompts, seeds, sampling),) = llm.generated
    generations = RecordingLLM().generate(prompts, seeds, sampling)
    assert [(c.text, c.finished, c.n_tokens) for c in candidates] == [
        (generation.text, generation.finished, generation.n_tokens) for generation in generations
    ]
    assert all(c.n_tokens for c in candidates)


def test_a_candidate_depends_on_its_place_alone() -> None:
    four, _ = written(batch=Batch(0, "good", 0, 0, 4))
    two, _ = written(batch=Batch(0, "good", 0, 0, 2))
    assert four[:2] == two


def test_prompt_shows_examples_of_the_label_and_fold_alone() -> None:
    task = two_label_task()
    folds = split_folds(task, 0, cross_fit=True)
    for fold in (0, 1):
        _, llm = written(batch=Batch(0, "bad", 0, fold, 1))
        shown = "".join(segment.text for segment in llm.generated[0][0][0].prefix)
        inside = {e.text for e in task.examples if e.text in shown}
        assert inside == {e.text for e in folds[fold] if e.label == "bad"}


def test_prompt_id_tells_prompts_apart() -> None:
    a, _ = written(batch=Batch(0, "good", 0, 0, 1))
    b, _ = written(batch=Batch(0, "good", 0, 1, 1))
    assert a[0].prompt_id != b[0].prompt_id
    assert a[0].prompt_id == written(batch=Batch(0, "good", 0, 0, 2))[0][1].prompt_id


def test_first_round_hopes_for_half() -> None:
    recipe = small_recipe("generate.synthetic_per_label=21", "generate.batch_size=32", "filter.cross_fit=true")
    plan = plan_round(0, {"a": Tally(), "b": Tally()}, recipe)
    assert [(b.label, b.index, b.n_candidates) for b in plan] == [
        ("a", 0, 32),
        ("a", 1, 32),
        ("b", 0, 32),
        ("b", 1, 32),
    ]
    assert [b.fold for b in plan] == [0, 1, 0, 1]


def test_later_rounds_ask_by_the_rate_so_far() -> None:
    recipe = small_recipe("generate.synthetic_per_label=20", "generate.batch_size=4", "filter.cross_fit=true")
    generous = plan_round(1, {"a": Tally(written=32, kept=18)}, recipe)
    poor = plan_round(1, {"a": Tally(written=32, kept=2)}, recipe)
    assert sum(b.n_candidates for b in generous) == 4
    assert sum(b.n_candidates for b in poor) == 32  # 64 in all, the budget
    assert [b.fold for b in generous] == [1]


def test_a_label_that_has_enough_or_spent_its_budget_is_left_alone() -> None:
    recipe = small_recipe()
    assert plan_round(3, {"a": Tally(30, 5), "b": Tally(64, 1), "c": Tally(90, 0)}, recipe) == []


def test_the_budget_is_met_exactly() -> None:
    recipe = small_recipe("generate.max_candidates_per_label=13")
    plan = plan_round(0, {"a": Tally()}, dataclasses.replace(recipe))
    assert sum(b.n_candidates for b in plan_round(1, {"a": Tally(3, 0)}, recipe)) == 10
    assert sum(b.n_candidates for b in plan) <= 13
    assert all(b.n_candidates > 0 for b in plan)


def test_without_cross_fit_every_batch_is_of_the_one_fold() -> None:
    plan = plan_round(1, {"a": Tally()}, small_recipe("filter.cross_fit=false", "generate.batch_size=2"))
    assert {b.fold for b in plan} == {0}


def test_token_limit_is_twice_the_longest_example() -> None:
    task, llm = two_label_task(), RecordingLLM()
    longest = max(len(e.text.split()) for e in task.examples)
    assert max_new_tokens(llm, task, small_recipe()) == 2 * longest + 8
    assert max_new_tokens(llm, task, small_recipe("generate.max_new_tokens=9")) == 9
    assert max_new_tokens(llm, task, small_recipe("prompt.max_text_tokens=9")) == 9


def test_each_batch_asks_for_drawn_attributes() -> None:
    task, recipe, llm = two_label_task(), small_recipe("generate.attributes=task"), RecordingLLM()
    folds = split_folds(task, 0, cross_fit=True)
    batches = [Batch(0, "good", index, 0, 1) for index in range(12)]
    attributes = {"good": (Attribute("length", ("short", "long")), Attribute("style", ("formal",)))}
    generate_candidates(llm, task, recipe, batches, folds, 0, attributes=attributes)
    ((prompts, _, _),) = llm.generated
    asked = {"".join(segment.text for segment in prompt.prefix).split("\n\n")[0] for prompt in prompts}
    assert {line.rsplit("positive", 1)[1] for line in asked} == {
        ", length: short, style: formal.",
        ", length: long, style: formal.",
    }


def test_attributes_are_drawn_anew_every_few_texts() -> None:
    tallies = {"good": Tally()}
    plain = plan_round(0, tallies, small_recipe("generate.batch_size=16", "generate.synthetic_per_label=16"))
    drawn = plan_round(
        0,
        tallies,
        small_recipe("generate.batch_size=16", "generate.synthetic_per_label=16", "generate.attributes=task"),
    )
    assert [batch.n_candidates for batch in plain] == [16, 16]
    assert [batch.n_candidates for batch in drawn] == [4] * 8


def test_words_of_earlier_texts_are_avoided_only_if_the_recipe_says_so() -> None:
    task = two_label_task()
    earlier = {"good": [" ".join(word for example in task.examples for word in example.text.split())]}
    batch = [Batch(0, "good", 0, 0, 40)]
    folds = split_folds(task, 0, cross_fit=True)
    texts = {}
    for strength in (0.0, 1.0):
        recipe = small_recipe(f"generate.logit_suppression={strength}", "generate.demonstrations_per_prompt=2")
        candidates = generate_candidates(RecordingLLM(), task, recipe, batch, folds, 0, earlier=earlier)
        texts[strength] = " ".join(candidate.text for candidate in candidates).split()
    assert "lovely" in texts[0.0]
    assert "lovely" not in texts[1.0]


def test_where_real_texts_are_cut_a_written_one_may_end_at_the_same_length() -> None:
    """No text as long as the real ones could finish: each was dropped as cut off at the token limit."""

    class Endless(RecordingLLM):
        def generate(
            self,
            prompts: Sequence[Prompt],
            seeds: Sequence[int],
            sampling: Sampling,
            earlier: Sequence[Sequence[str]] | None = None,
        ) -> list[Generation]:
            return [Generation("word " * 9, finished=False, n_tokens=sampling.max_new_tokens) for _ in prompts]

    task, llm = Task.create("films", None, [("good " * 30, "good"), ("bad " * 9, "bad")]), Endless()
    longest = max(llm.count_tokens([e.text for e in task.examples]))
    for limit, finished in ((longest - 1, True), (longest, False)):
        recipe = small_recipe(f"prompt.max_text_tokens={limit}")
        folds = split_folds(task, 0, cross_fit=False)
        (candidate,) = generate_candidates(llm, task, recipe, [Batch(0, "good", 0, 0, 1)], folds, 0)
        assert (candidate.n_tokens, candidate.finished) == (limit, finished)


def test_white_space_that_is_not_read_is_no_token_of_the_limit() -> None:
    class Spelling(RecordingLLM):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [len(text) for text in texts]

    task = Task.create("code", None, [("if x:\n" + " " * 90 + "y", "good"), ("pass", "bad")])
    assert max_new_tokens(Spelling(), task, small_recipe()) == 2 * len("if x: y") + 8
