from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from handful.benchmark.estimate import Estimate, MethodEstimate, estimate, folds_of, identity
from handful.errors import TaskError
from handful.evaluation.filter_quality import Overlap, Share
from handful.run import open_run
from handful.task import Task
from tests.toys import Listener, RecordingEngine, RecordingLLM, job_of, two_label_task


def test_every_example_is_tested_once_by_a_task_that_lacks_it() -> None:
    task = two_label_task()
    folds = folds_of(task, 4, 0)
    assert len(folds) == 4
    tested = [example for fold in folds for example in fold.test or ()]
    assert sorted(tested, key=str) == sorted(task.examples, key=str)
    for fold in folds:
        assert set(fold.test or ()) | set(fold.examples) == set(task.examples)
        assert not set(fold.test or ()) & set(fold.examples)
        assert {example.label for example in fold.test or ()} == set(task.label_names)


def test_folds_do_not_depend_on_the_order_of_the_file() -> None:
    task = two_label_task()
    turned = Task.create(
        task.name, list(task.labels), list(reversed(task.examples)), test=None, text_name=task.text_name
    )
    for a, b in zip(folds_of(task, 2, 3), folds_of(turned, 2, 3), strict=True):
        assert set(a.examples) == set(b.examples)


@pytest.mark.parametrize(("n_folds", "message"), [(1, "nothing to learn"), (5, "at least 5")])
def test_what_cannot_be_folded_is_refused(n_folds: int, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        folds_of(two_label_task(), n_folds, 0)


def test_a_label_that_would_be_left_with_too_few_is_named_with_what_it_has(tmp_path: Path) -> None:
    task = two_label_task(test=False)
    scarce = dataclasses.replace(task, examples=task.examples[:6])
    job = job_of(scarce, RecordingEngine())
    with open_run(tmp_path / "estimate", {"identity": identity(job, 2), "environment": {}}) as run:
        with pytest.raises(TaskError, match="'bad' has 2 examples, an estimate leaves 1 of them, the judges need 2"):
            estimate(job, run, 2, Listener())
        estimate(job_of(scarce, RecordingEngine(), "filter.judge=in_context"), run, 2, Listener())


def test_an_estimate_counts_each_example_once_and_needs_no_test_text(tmp_path: Path) -> None:
    job = job_of(two_label_task(test=False), RecordingEngine())
    with open_run(tmp_path / "estimate", {"identity": identity(job, 2), "environment": {}}) as run:
        found = estimate(job, run, 2, Listener())
        again = estimate(job, run, 2, Listener())
        # By another name the folds lie in other folders, beside those of before.
        renamed = dataclasses.replace(job, task=dataclasses.replace(job.task, name="movies"))
        assert estimate(renamed, run, 2, Listener()).acceptance == found.acceptance
    assert again == found
    assert [entry.method for entry in found.methods] == ["in_context", "lora_real", "lora_synthetic"]
    assert {entry.right.total for entry in found.methods} == {8}
    assert found.methods[1].title == "LoRA-2"
    assert found.acceptance.keys() == {"good", "bad"}
    assert all(share.total > 0 for share in found.acceptance.values())


def test_an_estimate_of_the_examples_alone(tmp_path: Path) -> None:
    job = job_of(two_label_task(test=False), RecordingEngine(), "generate.synthetic_per_label=0")
    with open_run(tmp_path / "estimate", {"identity": identity(job, 2), "environment": {}}) as run:
        found = estimate(job, run, 2, Listener())
    assert [(entry.method, entry.right.total) for entry in found.methods] == [("in_context", 8), ("lora_real", 8)]
    assert {entry.right_calibrated.total for entry in found.methods} == {0}  # no text to estimate a prior on
    assert not any(share.total for share in found.acceptance.values())
    assert found.advice()[0].startswith("These 8 answers tell two methods apart")


def estimate_of(right: int, *overlaps: Overlap) -> Estimate:
    method = MethodEstimate("in_context", "ICL-3", Share(right, 16), Share(right, 16))
    return Estimate(4, 16, 0.25, (method,), {}, overlaps)


def test_the_advice_says_when_it_will_not_help_and_when_that_is_not_known() -> None:
    (clear,) = estimate_of(14).advice()
    assert "These 16 answers tell two methods apart only if at least 6 of them are right by one alone" in clear
    _, few = estimate_of(6).advice()
    assert "too few to say" in few
    assert "at best 6 of 16 right, where guessing, or always giving the commonest label, gives 25%" in few
    _, guessing = estimate_of(4).advice()
    assert "will not help here" in guessing


def test_the_best_of_four_guesses_is_not_taken_for_more_than_a_guess() -> None:
    shares = Share(8, 24), Share(5, 24)  # eight of one guess would be too many: Wilson's lower end is 0.18
    methods = tuple(MethodEstimate(name, name, *shares) for name in ("in_context", "lora_real"))
    assert shares[0].interval[0] > 0.155
    assert "too few to say" in " ".join(Estimate(4, 24, 0.155, methods, {}, ()).advice())
    assert "too few to say" not in " ".join(Estimate(4, 24, 0.155, methods[:1], {}, ()).advice())


def test_examples_that_do_not_fit_one_prompt_leave_the_other_methods(tmp_path: Path) -> None:
    engine = RecordingEngine(RecordingLLM(most_segments=20))
    job, listener = job_of(two_label_task(test=False), engine), Listener()
    with open_run(tmp_path / "estimate", {"identity": identity(job, 2), "environment": {}}) as run:
        found = estimate(job, run, 2, listener)
    assert [entry.method for entry in found.methods] == ["lora_real", "lora_synthetic"]
    assert any("in_context is left out" in warning for warning in listener.warnings)
    assert found.advice()


def test_the_advice_names_labels_that_overlap() -> None:
    said = " ".join(estimate_of(14, Overlap("refund", "billing", Share(6, 12))).advice())
    assert "asked for 'refund' the model takes 50% for 'billing'" in said
