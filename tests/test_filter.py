from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import ArrayLike

from handful.demonstrations import judge_examples, split_folds, writer_demonstrations
from handful.filter import decide, judge_candidates
from handful.generate import Batch, generate_candidates
from handful.llm.protocol import FloatArray, OnProgress
from handful.llm.scripted import ScriptedLLM
from handful.prompts import Prompt
from handful.recipe import FilterRecipe
from handful.recipe_file import load_recipe
from handful.records import Candidate, LabelScores, Verdict
from tests.toys import RecordingLLM, small_recipe, two_label_task

TASK = two_label_task()


def candidate(name: str, label: str = "good", fold: int = 0) -> Candidate:
    return Candidate(name, f"text {name}", label, 0, "p", fold)


def shown_in(prompt: Prompt) -> set[str]:
    text = "".join(segment.text for segment in prompt.prefix)
    return {e.text for e in TASK.examples if f"Text: {e.text}\n" in text}


def decided(
    candidates: Sequence[Candidate],
    log_probs: ArrayLike,
    recipe: FilterRecipe | None = None,
    rejected: dict[str, str] | None = None,
) -> list[Verdict]:
    judged = [c for c in candidates if c.id not in (rejected or {})]
    scores = [
        LabelScores(c.id, tuple(row)) for c, row in zip(judged, np.reshape(log_probs, (-1, 2)).tolist(), strict=True)
    ]
    return decide(TASK, candidates, rejected or {}, scores, recipe or FilterRecipe(calibration="none"), 0)


@pytest.mark.parametrize("seed", range(4))
def test_judge_sees_none_of_the_writers_demonstrations(seed: int) -> None:
    recipe, llm = small_recipe(), RecordingLLM()
    folds = split_folds(TASK, seed, cross_fit=True)
    candidates = [
        c
        for index in range(4)
        for label in TASK.label_names
        for c in generate_candidates(llm, TASK, recipe, [Batch(0, label, index, index % 2, 2)], folds, seed)
    ]
    written_with = {
        item: shown_in(prompt)
        for prompts, seeds, _ in llm.generated
        for prompt, item in zip(prompts, seeds, strict=True)
    }
    shown = [judge_examples(folds, fold, seed) for fold in (0, 1)]
    judge_candidates(llm, TASK, recipe, candidates, shown)
    ((prompts),) = llm.scored
    assert len(prompts) == len(candidates) == 16
    for c, prompt in zip(candidates, prompts, strict=True):
        assert written_with[c.seed]
        assert shown_in(prompt)
        assert not written_with[c.seed] & shown_in(prompt)
        assert prompt.query == " ".join(c.text.split())


def test_recipe_paper_judges_with_all_examples() -> None:
    recipe, llm = load_recipe("paper"), RecordingLLM()
    folds = split_folds(TASK, 0, cross_fit=recipe.filter.cross_fit)
    candidates = generate_candidates(llm, TASK, recipe, [Batch(0, "good", 0, 0, 2)], folds, 0)
    judge_candidates(llm, TASK, recipe, candidates, [judge_examples(folds, 0, 0)])
    all_texts = {e.text for e in TASK.examples}
    good = {e.text for e in TASK.examples if e.label == "good"}
    assert [shown_in(prompt) for prompt in llm.generated[0][0]] == [good] * 2
    assert {e.text for e in writer_demonstrations(folds[0], "good", None, 0)} == good
    assert [shown_in(prompt) for prompt in llm.scored[0]] == [all_texts] * 2


@dataclass(frozen=True)
class BiasedLLM(ScriptedLLM):
    """Knows the truth (texts say their label) but likes "good" far better."""

    def score(
        self, prompts: Sequence[Prompt], targets: Sequence[str], *, on_progress: OnProgress | None = None
    ) -> FloatArray:
        chance = np.random.default_rng(0).normal(size=len(prompts)) * 0.1
        evidence = np.array([1.0 if "GOOD" in (p.query or "") else -1.0 for p in prompts]) + chance
        return np.stack([evidence + 5, -evidence], axis=1)


def test_calibration_undoes_a_bias_that_starves_raw_agreement() -> None:
    candidates = [
        Candidate(f"{label}{i}", f"{label.upper()} {i}", label, 0, "p", i % 2)
        for label in ("good", "bad")
        for i in range(20)
    ]
    recipe = small_recipe()
    halves = split_folds(TASK, 0, cross_fit=True)
    scores = judge_candidates(BiasedLLM(), TASK, recipe, candidates, [halves[1], halves[0]])

    def kept(recipe: FilterRecipe) -> Counter[str]:
        return Counter(v.label for v in decide(TASK, candidates, {}, scores, recipe, 0) if v.decision == "kept")

    assert kept(FilterRecipe(calibration="none")) == {"good": 20}
    for method in ("mean", "match"):
        assert kept(FilterRecipe(calibration=method)) == {"good": 20, "bad": 20}


def test_judges_that_lean_are_set_right_as_far_as_they_agree_with_what_was_asked() -> None:
    asked = [candidate(f"g{i}") for i in range(10)] + [candidate(f"b{i}", "bad") for i in range(10)]
    # Sure of the good ones, and of half of the bad ones; the others they lean to call good, without being sure.
    rows = [(0.98, 0.02)] * 10 + [(0.05, 0.95)] * 5 + [(0.55, 0.45)] * 5
    moved = [v.decision for v in decided(asked, np.log(rows), FilterRecipe(calibration="none"))]
    assert moved.count("relabelled") == 5
    believed = [v.decision for v in decided(asked, np.log(rows), FilterRecipe(calibration="believed"))]
    assert believed.count("relabelled") == 0
    # Where the judges say that the writer did not do as asked, they are believed.
    drifted = [(0.98, 0.02)] * 19 + [(0.02, 0.98)]
    for calibration in ("none", "believed"):
        verdicts = decided(asked, np.log(drifted), FilterRecipe(calibration=calibration))
        assert sum(v.decision == "relabelled" for v in verdicts) == 9


def test_the_prior_is_taken_out_fold_by_fold() -> None:
    candidates = [candidate(f"{fold}{i}", "good" if i % 2 else "bad", fold) for fold in (0, 1) for i in range(6)]
    bias = {0: 4.0, 1: -4.0}
    rows = [((1.0 if c.intended_label == "good" else -1.0) + bias[c.fold], 0.0) for c in candidates]
    verdicts = decided(candidates, rows, FilterRecipe(judge="in_context", calibration="match"))
    assert [v.decision for v in verdicts] == ["kept"] * 12
    # A tuned judge is shown the same for all candidates: it has one prior, here a flat one, so every bias counts.
    tuned = decided(candidates, rows, FilterRecipe(judge="tuned", calibration="match"))
    assert sorted(v.decision for v in tuned) == ["kept"] * 6 + ["relabelled"] * 6


def test_margins() -> None:
    pair = [candidate("a"), candidate("b")]
    rows = np.log([[0.6, 0.4], [0.9, 0.1]])
    verdicts = decided(pair, rows, FilterRecipe(calibration="none", min_margin=0.5))
    assert [(v.decision, v.reason) for v in verdicts] == [("rejected", "low_margin"), ("kept", "agrees")]
    assert [v.margin for v in verdicts] == pytest.approx([0.2, 0.8])
    assert verdicts[0].label_probabilities == pytest.approx((0.6, 0.4))
    assert verdicts[0].log_probs == pytest.approx(tuple(rows[0]))


def test_disagreement_drops_or_relabels() -> None:
    pair = [candidate("a"), candidate("b")]
    rows = np.log([[0.4, 0.6], [0.1, 0.9]])
    dropped = decided(pair, rows, FilterRecipe(calibration="none", relabel=False))
    assert [(v.decision, v.reason, v.label) for v in dropped] == [("rejected", "disagrees", "good")] * 2
    mended = decided(pair, rows, FilterRecipe(calibration="none", relabel=True, relabel_margin=0.5))
    assert [(v.decision, v.reason, v.label) for v in mended] == [
        ("rejected", "disagrees", "good"),
        ("relabelled", "relabelled", "bad"),
    ]
    assert [v.margin for v in mended] == pytest.approx([-0.2, -0.8])


def test_method_none_keeps_all_that_is_well_formed() -> None:
    verdicts = decided(
        [candidate("a"), candidate("b")], np.log([[0.1, 0.9]]), FilterRecipe(method="none"), rejected={"b": "too_short"}
    )
    assert [(v.decision, v.reason, v.label) for v in verdicts] == [
        ("kept", "unfiltered", "good"),
        ("rejected", "too_short", "good"),
    ]


@pytest.mark.parametrize("relabel", [False, True])
def test_random_ablation_keeps_the_same_counts(relabel: bool) -> None:
    chance = np.random.default_rng(0)
    candidates = [candidate(str(i), ["good", "bad"][i % 2]) for i in range(40)]
    rejected = {str(i): "duplicate" for i in range(0, 40, 7)}
    rows = chance.normal(size=(40 - len(rejected), 2)) * 2
    agreed = decided(candidates, rows, FilterRecipe(relabel=relabel), rejected)
    drawn = decided(candidates, rows, FilterRecipe(method="random", relabel=relabel), rejected)
    labels = {c.id: c.intended_label for c in candidates}

    def counts(verdicts: list[Verdict]) -> Counter[str]:
        return Counter(labels[v.candidate_id] for v in verdicts if v.decision == "kept")

    assert counts(drawn) == counts(agreed)
    assert sum(counts(drawn).values()) > 0
    assert {v.decision for v in drawn} == {"kept", "rejected"}
    assert all(v.label == labels[v.candidate_id] for v in drawn)
    assert [v.decision for v in drawn] != [v.decision for v in agreed]
    assert all(v.reason == "duplicate" for v in drawn if v.candidate_id in rejected)
    again = decided(candidates, rows, FilterRecipe(method="random", relabel=relabel), rejected)
    assert again == drawn


@pytest.mark.parametrize("method", ["agreement", "random", "none"])
def test_every_candidate_gets_one_verdict_in_order(method: str) -> None:
    candidates = [candidate(str(i), ["good", "bad"][i % 2], i % 2) for i in range(12)]
    rejected = {"3": "empty", "8": "duplicate"}
    rows = np.random.default_rng(1).normal(size=(10, 2))
    verdicts = decided(candidates, rows, FilterRecipe(method=method), rejected)  # type: ignore[arg-type]
    assert [v.candidate_id for v in verdicts] == [c.id for c in candidates]
    assert all(v.reason for v in verdicts)
    for v in verdicts:
        assert (v.label_probabilities == ()) == (v.candidate_id in rejected)
        assert v.label in TASK.label_names


def test_nothing_judged_at_all() -> None:
    verdicts = decided([candidate("a")], [], FilterRecipe(), {"a": "empty"})
    assert [(v.decision, v.reason) for v in verdicts] == [("rejected", "empty")]
    assert decided([], []) == []
