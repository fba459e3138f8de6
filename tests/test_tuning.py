from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from handful.calibration import label_probabilities
from handful.classifier import Classifier
from handful.classifier_files import read_classifier
from handful.errors import Interrupted
from handful.run import Run, open_run
from handful.training_set import real_rows
from handful.tuning import job_spec, train_files, tune_classifier, tuned_classifier
from tests.toys import Listener, RecordingEngine, job_of, two_label_task

TASK = two_label_task()
POOL = ["lovely warm", "boring", "dull cold film", "a story of lovely music", "very funny"]


def tune(directory: Path, engine: RecordingEngine, *overrides: str, listener: Listener | None = None) -> Path:
    job = job_of(TASK, engine, *overrides)
    with open_run(directory, {"identity": {}, "environment": {}}) as run:
        return tune_classifier(job, real_rows(TASK, job.recipe), POOL, run, listener or Listener())


def test_the_prompt_of_training_is_the_prompt_of_use(tmp_path: Path) -> None:
    engine = RecordingEngine()
    directory = tune(tmp_path / "run", engine)
    spec = read_classifier(directory)
    assert spec == job_spec(job_of(TASK, engine))
    assert (spec.base_model, spec.base_model_fingerprint, spec.shift) == ("scripted", "scripted-1", None)


@pytest.mark.parametrize("method", ["mean", "match"])
def test_the_students_prior_is_estimated_on_the_pool(tmp_path: Path, method: str) -> None:
    directory = tune(tmp_path / "run", RecordingEngine(), f"classify.calibration={method}")
    classifier = Classifier.load(directory)
    assert classifier.spec.shift is not None
    assert sum(classifier.spec.shift) == pytest.approx(0)
    if method == "match":
        mean = label_probabilities(classifier.log_probs(POOL), classifier.spec.shift).mean(axis=0)
        assert mean == pytest.approx([0.5, 0.5], abs=1e-6)
    assert np.abs(classifier.spec.shift).max() > 1e-3


def test_a_classifier_is_made_once(tmp_path: Path) -> None:
    engine = RecordingEngine()
    first = tune(tmp_path / "run", engine)
    assert tune(tmp_path / "run", engine) == first
    assert len(engine.trained) == 1
    tune(tmp_path / "run", engine, "classify.calibration=match")
    assert engine.trained[1:] in ([0], [6])  # the training itself may be read back or done again
    assert read_classifier(first).shift is not None


def test_an_interrupted_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = tune(tmp_path / "whole", RecordingEngine())
    engine, listener = RecordingEngine(), Listener()
    for stop_at in (2, 3):
        with pytest.raises(Interrupted):
            tune(tmp_path / "run", engine, listener=Listener(stop_at=stop_at))
    directory = tune(tmp_path / "run", engine, listener=listener)
    assert engine.trained == [2, 3, 1]
    assert {p.name: p.read_bytes() for p in directory.iterdir()} == {p.name: p.read_bytes() for p in whole.iterdir()}
    assert not list((tmp_path / "run").rglob("*checkpoint*"))


def test_a_training_of_another_number_of_steps_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = RecordingEngine()
    with pytest.raises(Interrupted):
        tune(tmp_path / "run", engine, listener=Listener(stop_at=2))
    # As in another version, which counts steps otherwise from the same rows and recipe.
    monkeypatch.setattr("handful.training_plan.TrainingPlan.n_steps", 4)
    tune(tmp_path / "run", engine)
    assert engine.trained == [2, 4]


def test_files_without_a_directory_answer_like_the_directory(tmp_path: Path) -> None:
    job = job_of(TASK, RecordingEngine())
    rows = real_rows(TASK, job.recipe)
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        files = train_files(job, rows, run, Listener(), stage="train baseline")
        directory = tune_classifier(job, rows, POOL, run, Listener())
    expected = Classifier.load(directory).predict_proba(POOL)
    assert tuned_classifier(job, files).predict_proba(POOL) == pytest.approx(expected)
    assert set(files) == {"scripted_adapter.json"}


def test_the_card_counts_the_rows(tmp_path: Path) -> None:
    directory = tune(tmp_path / "run", RecordingEngine())
    card = (directory / "README.md").read_text()
    for line in ("- Recipe: default", "- Seed: 0", "- Real examples: 8", "- Synthetic examples: 0"):
        assert line in card
    assert json.loads((directory / "handful.json").read_text())["versions"]["handful"]


def test_runs_are_open_while_tuning(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        assert isinstance(run, Run)
        assert run.adapter_dir == tmp_path / "run" / "adapter"
