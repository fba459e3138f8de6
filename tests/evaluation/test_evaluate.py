from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from handful.calibration import estimate_shift, label_probabilities
from handful.classifier import Classifier
from handful.evaluation.evaluate import evaluate_methods
from handful.evaluation.methods import RUN_METHODS
from handful.run import open_run, read_jsonl
from handful.training_set import real_rows, training_rows
from handful.tuning import job_spec, tune_classifier
from tests.toys import Listener, RecordingEngine, RecordingLLM, job_of, two_label_task

POOL = ["lovely warm", "boring", "dull cold film", "very funny"]


def test_every_method_goes_through_the_same_scoring(tmp_path: Path) -> None:
    task, engine = two_label_task(), RecordingEngine()
    job = job_of(task, engine)
    assert task.test is not None
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        tune_classifier(job, real_rows(task, job.recipe), POOL, run, Listener())
        results = evaluate_methods(job, POOL, run, Listener())
        calls, trained = engine.calls, len(engine.trained)
        again = evaluate_methods(job, POOL, run, Listener())
    assert again == results
    assert (engine.calls, len(engine.trained)) == (calls, trained)
    assert [row["method"] for row in results["methods"]] == [method.name for method in RUN_METHODS]
    texts = [e.text for e in task.test]
    zero_shot = Classifier(engine.llm(max_text_tokens=512), job_spec(job)).log_probs(texts)
    saved = list(read_jsonl(tmp_path / "run" / "predictions" / "zero_shot.jsonl"))
    assert [row["log_probs"] for row in saved] == [pytest.approx(row) for row in zero_shot.tolist()]
    assert [row["label"] for row in saved] == [e.label for e in task.test]
    assert [row["text_id"] for row in saved] == ["0", "1", "2"]
    # Same rows, same seed: the baseline's training is the tuned model's here, and so are its answers.
    by_name = {row["method"]: row for row in results["methods"]}
    assert by_name["lora_real"]["accuracy"] == by_name["lora_synthetic"]["accuracy"]


def test_the_tuned_model_is_measured_with_its_own_shift(tmp_path: Path) -> None:
    task, engine = two_label_task(), RecordingEngine()
    job = job_of(task, engine, "classify.calibration=match")
    assert task.test is not None
    pool = ["lovely warm funny story"] * 30 + ["dull"]
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        directory = tune_classifier(job, real_rows(task, job.recipe), pool, run, Listener())
        evaluate_methods(job, pool, run, Listener())
    classifier = Classifier.load(directory)
    texts = [e.text for e in task.test]
    saved = [row["predicted"] for row in read_jsonl(tmp_path / "run" / "predictions" / "lora_synthetic.jsonl")]
    unshifted = [task.label_names[i] for i in classifier.log_probs(texts).argmax(axis=1)]
    assert saved == classifier.predict(texts) != unshifted


def test_the_calibrated_columns_need_a_pool_and_no_test_text(tmp_path: Path) -> None:
    task, engine = two_label_task(), RecordingEngine()
    job = job_of(task, engine)
    assert task.test is not None
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        tune_classifier(job, real_rows(task, job.recipe), [], run, Listener())
        without = evaluate_methods(job, [], run, Listener())
    for row in without["methods"]:
        assert row["calibrated_accuracy"] is row["calibrated_macro_f1"] is None
    gold = [example.label for example in task.test]
    with open_run(tmp_path / "with", {"identity": {}, "environment": {}}) as run:
        tune_classifier(job, real_rows(task, job.recipe), POOL, run, Listener())
        results = evaluate_methods(job, POOL, run, Listener())
    (row,) = (row for row in results["methods"] if row["method"] == "zero_shot")
    zero_shot = Classifier(engine.llm(max_text_tokens=512), job_spec(job))
    shift = estimate_shift(zero_shot.log_probs(POOL), "match")
    shifted = label_probabilities(zero_shot.log_probs([e.text for e in task.test]), shift).argmax(axis=1)
    right = [task.label_names[index] == label for index, label in zip(shifted, gold, strict=True)]
    assert row["calibrated_accuracy"] == pytest.approx(sum(right) / len(right))


def test_in_context_prompts_show_every_example_once(tmp_path: Path) -> None:
    task, engine = two_label_task(), RecordingEngine()
    job = job_of(task, engine)
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        tune_classifier(job, real_rows(task, job.recipe), POOL, run, Listener())
        evaluate_methods(job, POOL, run, Listener())
    shown = {"".join(s.text for s in prompt.prefix) for prompts in engine.recorder.scored for prompt in prompts}
    counts = sorted(sum(prefix.count(f"Text: {e.text}\n") for e in task.examples) for prefix in shown)
    assert counts == [0, 8]


def test_examples_that_do_not_fit_the_prompt_leave_the_other_methods(tmp_path: Path) -> None:
    task, listener = two_label_task(), Listener()
    job = job_of(task, RecordingEngine(RecordingLLM(most_segments=30)))
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        tune_classifier(job, real_rows(task, job.recipe), POOL, run, listener)
        results = evaluate_methods(job, POOL, run, listener)
    assert [row["method"] for row in results["methods"]] == ["zero_shot", "lora_real", "lora_synthetic"]
    assert listener.warnings == ["in_context is left out: the prompt is too long"]


def test_the_baseline_is_balanced_as_ours_is(tmp_path: Path) -> None:
    """With 2 and 4 examples it learnt the labels as unequally frequent, and ours as equally: no fair comparison."""
    whole, engine = two_label_task(), RecordingEngine()
    task = dataclasses.replace(whole, examples=whole.examples[:2] + whole.examples[4:])
    job = job_of(task, engine)
    with open_run(tmp_path / "run", {"identity": job.identity(), "environment": {}}) as run:
        tune_classifier(job, training_rows(task, job.recipe, [], []), POOL, run, Listener())
        evaluate_methods(job, POOL, run, Listener())
    baseline = engine.plans[-1]
    weights = {row.label: row.weight * len(task.examples_of(row.label)) for row in baseline.rows}
    assert weights["good"] == pytest.approx(weights["bad"])
