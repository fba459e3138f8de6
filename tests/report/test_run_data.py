from __future__ import annotations

import json
from pathlib import Path

import pytest

from handful.errors import RunError
from handful.evaluation.methods import OURS
from handful.pipeline import Stage, run_pipeline
from handful.report.run_data import Answers, RunData, read_run
from handful.run import open_run
from tests.toys import RecordingEngine, job_of, two_label_task


def finished(folder: Path, *overrides: str, until: Stage = "evaluate", test: bool = True) -> Path:
    """A run of the scripted model."""
    job = job_of(two_label_task(test=test), RecordingEngine(), *overrides, seed=5)
    with open_run(folder / "run", {"identity": job.identity(), "environment": {}}) as run:
        run_pipeline(job, run, until=until)
    return folder / "run"


def test_reads_what_the_run_published(tmp_path: Path) -> None:
    data = read_run(finished(tmp_path))
    assert (data.task.name, data.labels, data.seed, data.model) == ("films", ("good", "bad"), 5, "scripted")
    assert (data.task.test or ())[0].text == "lovely funny film"
    assert data.recipe["generate"]["synthetic_per_label"] == 5
    assert len(data.judged) == len(data.candidates) == len(data.verdicts) > 10
    assert all(candidate.id == verdict.candidate_id for candidate, verdict in data.judged)
    assert len(data.written) == 10
    assert data.answers is not None
    assert data.results is not None
    assert list(data.answers) == [row["method"] for row in data.results["methods"]]
    for row in data.results["methods"]:
        answers = data.answers[row["method"]]
        assert sum(answers.right) / 3 == pytest.approx(row["accuracy"])
        for predicted, probabilities in zip(answers.predicted, answers.probabilities, strict=True):
            assert sum(probabilities) == pytest.approx(1)
            assert predicted == data.labels[probabilities.index(max(probabilities))]


def test_probabilities_are_those_the_answers_were_chosen_by(tmp_path: Path) -> None:
    run = finished(tmp_path, "classify.calibration=match")
    data = read_run(run)
    assert data.answers is not None
    answers = data.answers[OURS]
    assert [data.labels[row.index(max(row))] for row in answers.probabilities] == list(answers.predicted)
    shift = json.loads((run / "adapter" / "handful.json").read_text())["shift"]
    assert any(shift)


def test_a_run_that_is_not_through(tmp_path: Path) -> None:
    data = read_run(finished(tmp_path, until="generate"))
    assert (data.results, data.answers, data.timings, data.has_classifier) == (None, None, None, False)
    assert data.written


def test_nothing_to_report_on(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such directory"):
        read_run(tmp_path / "nowhere")
    run = finished(tmp_path, until="generate")
    (run / "verdicts.jsonl").rename(run / "gone")
    with pytest.raises(RunError, match=r"nothing to report on yet: there is no verdicts\.jsonl\. Give the run's"):
        read_run(run)
    (run / "task.json").unlink()
    with pytest.raises(RunError, match=r"there is no task\.json"):
        read_run(run)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", "{", "damaged"),
        ("results.json", '{"methods": [{}]}', "cannot be understood"),
        ("task.json", '{"name": "x"}', "not a saved task"),
        ("verdicts.jsonl", '{"who": 1}\n', "cannot be understood"),
        ("predictions/lora_synthetic.jsonl", '{"text_id": "0"}\n', "cannot be understood"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    from handful.errors import HandfulError

    run = finished(tmp_path)
    (run / name).write_text(text)
    with pytest.raises(HandfulError, match=message):
        read_run(run)


@pytest.mark.parametrize("above", ["../../other/secret", "{tmp}/other/secret", "..", "a/b", 5])
def test_answers_are_read_from_the_run_alone(tmp_path: Path, above: str | int) -> None:
    run = finished(tmp_path)
    other = tmp_path / "other" / "secret.jsonl"
    other.parent.mkdir()
    answers = run / "predictions" / "lora_synthetic.jsonl"
    other.write_bytes(answers.read_bytes())
    assert (answers.parent / "../../other/secret.jsonl").is_file()
    results = json.loads((run / "results.json").read_text())
    results["methods"][0]["method"] = above.format(tmp=tmp_path) if isinstance(above, str) else above
    (run / "results.json").write_text(json.dumps(results))
    with pytest.raises(RunError, match="cannot be understood"):
        read_run(run)


def test_a_candidate_without_a_verdict_waits() -> None:
    from tests.report.samples import run_data

    data = run_data()
    assert isinstance(data, RunData)
    shorter = RunData(**{**vars(data), "verdicts": data.verdicts[:3]})
    assert [candidate.id for candidate, _ in shorter.judged] == ["0-0-0", "0-0-1", "0-0-2"]


def test_answers() -> None:
    answers = Answers(("a", "b"), ("a", "a"), ((0.9, 0.1), (0.6, 0.4)))
    assert answers.right == [True, False]
    assert answers.confidences == [0.9, 0.6]
