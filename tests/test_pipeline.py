from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from handful.errors import Interrupted, PromptTooLongError, RunError, TaskError
from handful.job import Job
from handful.pipeline import Outcome, Stage, run_pipeline, tally
from handful.records import Candidate, Verdict
from handful.run import open_run, read_jsonl
from handful.task import Task
from tests.toys import Listener, RecordingEngine, RecordingLLM, job_of, two_label_task

TIMING = {"ms_per_text"}


def run(directory: Path, job: Job, *, until: Stage = "evaluate", listener: Listener | None = None) -> Outcome:
    with open_run(directory, {"identity": {"fixed": 1}, "environment": {}}) as opened:
        return run_pipeline(job, opened, until=until, progress=listener)


def rows_of(directory: Path, name: str) -> list[dict[str, Any]]:
    return list(read_jsonl(directory / f"{name}.jsonl"))


def tree(directory: Path) -> dict[str, bytes]:
    """Every file of a run but for the lock, with the seconds taken out."""
    files = {}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and ".lock" not in path.name:
            data = path.read_bytes()
            if path.name == "results.json":
                data = json.dumps(timeless(json.loads(data))).encode()
            if not path.name.startswith("predictions-"):  # the step that holds the measured seconds
                files[str(path.relative_to(directory))] = data
    return files


def timeless(results: dict[str, Any]) -> dict[str, Any]:
    methods = [{k: v for k, v in row.items() if k not in TIMING} for row in results["methods"]]
    return {**results, "methods": methods}


def test_test_texts_that_come_later_are_answered_and_nothing_is_written_anew(tmp_path: Path) -> None:
    engine = RecordingEngine()
    run(tmp_path / "run", job_of(two_label_task(test=False), engine))
    written, tuned = len(engine.recorder.generated), len(engine.trained)
    assert written
    task = two_label_task()
    for test in (task.test or (), (task.test or ())[:2]):
        outcome = run(tmp_path / "run", job_of(dataclasses.replace(task, test=tuple(test)), engine))
        assert outcome.results is not None
        assert outcome.results["n_test"] == len(test)
        tuned += 1  # the baseline on the real examples alone
        assert (len(engine.recorder.generated), len(engine.trained)) == (written, tuned)


def test_an_example_of_a_label_is_too_little_for_judges(tmp_path: Path) -> None:
    task = two_label_task()
    few = dataclasses.replace(task, examples=task.examples[:5])
    with pytest.raises(TaskError, match="each label needs at least 2 examples; there are 'good' 4, 'bad' 1"):
        run(tmp_path / "run", job_of(few, RecordingEngine()))
    assert run(tmp_path / "run", job_of(few, RecordingEngine(), "filter.judge=in_context"), until="generate")


def test_reaches_n_per_label_and_publishes_everything(tmp_path: Path) -> None:
    job, listener = job_of(two_label_task(), RecordingEngine()), Listener()
    outcome = run(tmp_path / "run", job, listener=listener)
    kept = Counter(row.label for row in outcome.rows if row.source == "synthetic")
    assert kept == {"good": 5, "bad": 5}
    assert listener.warnings == []
    assert all(t.kept >= 5 for t in outcome.tallies.values())
    candidates, verdicts = (rows_of(tmp_path / "run", name) for name in ("candidates", "verdicts"))
    assert [c["id"] for c in candidates] == [v["candidate_id"] for v in verdicts]
    assert len({c["id"] for c in candidates}) == len(candidates) == sum(t.written for t in outcome.tallies.values())
    assert rows_of(tmp_path / "run", "training") == [json.loads(json.dumps(r.to_row())) for r in outcome.rows]
    assert {p.name for p in (tmp_path / "run" / "adapter").iterdir()} == {
        "scripted_adapter.json", "handful.json", "README.md", "SHA256SUMS",
    }  # fmt: skip
    assert listener.stages[:3] == ["write, round 1", "tune judge 1", "check, round 1, judge 1"]
    assert not list((tmp_path / "run" / "steps").glob("*checkpoint*"))
    assert listener.stages[-1] == "evaluate lora_synthetic"


@pytest.mark.parametrize("judge", ["tuned", "in_context"])
def test_judges_that_cannot_read_their_prompt_stop_a_run_before_it_writes(tmp_path: Path, judge: str) -> None:
    engine = RecordingEngine(RecordingLLM(most_segments=10))
    with pytest.raises(PromptTooLongError):
        run(tmp_path / "run", job_of(two_label_task(), engine, f"filter.judge={judge}"))
    assert not engine.recorder.generated
    assert not engine.trained


def test_judges_must_read_candidates_twice_as_long_as_the_examples(tmp_path: Path) -> None:
    engine = RecordingEngine()
    run(tmp_path / "run", job_of(two_label_task(), engine), until="generate")
    asked = {prompt.query for prompt in engine.recorder.measured if prompt.query}
    longest = max((example.text for example in two_label_task().examples), key=len)
    assert {text[: 2 * len(longest) + 1] for text in asked} == {f"{longest} {longest}"}


def test_the_longest_example_is_the_one_of_most_bytes(tmp_path: Path) -> None:
    """Twenty Chinese characters are more tokens than thirty letters."""
    engine, chinese = RecordingEngine(), "这部电影从头到尾都非常好看我很喜欢它"
    examples = [
        (chinese, "good"),
        ("a fine" + " " * 60 + "film", "good"),  # white space is read as one space
        ("a dull film of two hours", "bad"),
        ("weak", "bad"),
    ]
    run(tmp_path / "run", job_of(Task.create("films", None, examples), engine), until="generate")
    asked = {prompt.query or "" for prompt in engine.recorder.measured}
    assert any(text.startswith(f"{chinese} {chinese}") for text in asked)


def test_results_have_one_row_per_method(tmp_path: Path) -> None:
    outcome = run(tmp_path / "run", job_of(two_label_task(), RecordingEngine()))
    results = json.loads((tmp_path / "run" / "results.json").read_bytes())
    assert results == outcome.results
    assert (results["task"], results["n_test"]) == ("films", 3)
    assert [row["title"] for row in results["methods"]] == ["0-shot", "ICL-4", "LoRA-4", "ours (4 + 5)"]
    for row in results["methods"]:
        saved = rows_of(tmp_path / "run", f"predictions/{row['method']}")
        right = sum(line["label"] == line["predicted"] for line in saved)
        assert row["accuracy"] == pytest.approx(right / 3)
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        assert row["n_texts"] == len(saved) == 3
        assert row["ms_per_text"] > 0
        assert row["prompt_tokens"] > 0
    assert results["methods"][1]["prompt_tokens"] > results["methods"][0]["prompt_tokens"]


@pytest.mark.parametrize("until", ["generate", "filter", "train", "evaluate"])
def test_goes_as_far_as_asked(tmp_path: Path, until: Stage) -> None:
    outcome = run(tmp_path / "run", job_of(two_label_task(), RecordingEngine()), until=until)
    assert (tmp_path / "run" / "verdicts.jsonl").is_file()
    assert (tmp_path / "run" / "training.jsonl").is_file()
    assert [row.text for row in outcome.rows] == [row["text"] for row in rows_of(tmp_path / "run", "training")]
    assert (tmp_path / "run" / "adapter").is_dir() == (until in {"train", "evaluate"})
    assert (outcome.results is not None) == (until == "evaluate")


def test_without_test_texts_there_are_no_results(tmp_path: Path) -> None:
    outcome = run(tmp_path / "run", job_of(two_label_task(test=False), RecordingEngine()))
    assert outcome.results is None
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_second_run_asks_the_model_nothing(tmp_path: Path) -> None:
    run(tmp_path / "run", job_of(two_label_task(), RecordingEngine()))
    before, again = tree(tmp_path / "run"), RecordingEngine()
    run(tmp_path / "run", job_of(two_label_task(), again))
    assert (again.calls, again.trained) == (0, [])
    assert tree(tmp_path / "run") == before


def test_stages_build_on_each_other(tmp_path: Path) -> None:
    whole = RecordingEngine()
    run(tmp_path / "whole", job_of(two_label_task(), whole))
    parts = RecordingEngine()
    for until in ("generate", "filter", "train", "evaluate"):
        run(tmp_path / "parts", job_of(two_label_task(), parts), until=until)
    assert parts.calls == whole.calls
    assert parts.trained == whole.trained
    assert tree(tmp_path / "parts") == tree(tmp_path / "whole")


def test_interrupted_at_every_question_gives_the_same_bytes(tmp_path: Path) -> None:
    whole, questions = RecordingEngine(), Listener()
    run(tmp_path / "whole", job_of(two_label_task(), whole), listener=questions)
    expected = tree(tmp_path / "whole")
    assert questions.asked > 10
    for stop_at in range(1, questions.asked + 1):
        directory, engine = tmp_path / f"run{stop_at}", RecordingEngine()
        with pytest.raises(Interrupted):
            run(directory, job_of(two_label_task(), engine), listener=Listener(stop_at=stop_at))
        run(directory, job_of(two_label_task(), engine))
        assert tree(directory) == expected, stop_at
        # At most the scoring of one method was cut short: two texts to warm up, the test texts and the pool.
        assert whole.calls <= engine.calls <= whole.calls + 3, stop_at
        assert len(engine.recorder.generated) == len(whole.recorder.generated), stop_at
        # A step of the optimizer is never taken twice either.
        assert sum(engine.trained) == sum(whole.trained), stop_at


def test_stopping_again_and_again_gives_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "whole", job_of(two_label_task(), RecordingEngine()))
    for stop_at in range(1, 30):
        try:
            run(tmp_path / "run", job_of(two_label_task(), RecordingEngine()), listener=Listener(stop_at=stop_at))
            break
        except Interrupted:
            continue
    assert stop_at > 5
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")


@pytest.mark.parametrize(("relabel", "wanted", "named"), [("false", 30, 2), ("true", 30, 0), ("true", 200, 2)])
def test_budget_stops_and_names_the_starving_label(tmp_path: Path, relabel: str, wanted: int, named: int) -> None:
    overrides = (
        f"generate.synthetic_per_label={wanted}",
        "generate.max_candidates_per_label=20",
        f"filter.relabel={relabel}",
        "filter.judge=in_context",
    )
    listener = Listener()
    outcome = run(
        tmp_path / "run", job_of(two_label_task(), RecordingEngine(), *overrides), until="filter", listener=listener
    )
    assert {t.written for t in outcome.tallies.values()} == {20}
    assert len(listener.warnings) == named
    if not named:
        return
    kept = outcome.tallies["good"].kept
    assert f"label 'good' has {kept} of {wanted} synthetic examples" in listener.warnings[0]
    assert "though 20 candidates were written for it" in listener.warnings[0]


def test_rounds_are_bounded(tmp_path: Path) -> None:
    overrides = (
        "generate.synthetic_per_label=60",
        "generate.max_candidates_per_label=1000",
        "generate.max_rounds=2",
        "filter.relabel=false",
        "filter.judge=in_context",
    )
    listener = Listener()
    run(tmp_path / "run", job_of(two_label_task(), RecordingEngine(), *overrides), until="filter", listener=listener)
    assert [s for s in listener.stages if s.startswith("write")] == ["write, round 1", "write, round 2"]


def test_nothing_kept_is_an_error_that_points_to_the_verdicts(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not one of \d+ candidates was kept.*verdicts\.jsonl"):
        run(tmp_path / "run", job_of(two_label_task(), RecordingEngine(), "filter.min_words=50"))
    assert all(
        row["reason"] == "too_short" for row in rows_of(tmp_path / "run", "verdicts") if row["reason"] != "unfinished"
    )


def test_changing_the_training_leaves_candidates_standing(tmp_path: Path) -> None:
    run(tmp_path / "run", job_of(two_label_task(), RecordingEngine()), until="filter")
    written = (tmp_path / "run" / "candidates.jsonl").read_bytes()
    other = RecordingEngine()
    run(
        tmp_path / "run", job_of(two_label_task(), other, "train.epochs=3", "classify.calibration=match"), until="train"
    )
    assert other.calls == 0
    assert len(other.trained) == 1
    assert (tmp_path / "run" / "candidates.jsonl").read_bytes() == written


def test_changing_the_filter_writes_anew(tmp_path: Path) -> None:
    run(tmp_path / "run", job_of(two_label_task(), RecordingEngine()), until="filter")
    other = RecordingEngine()
    run(tmp_path / "run", job_of(two_label_task(), other, "filter.min_words=3"), until="filter")
    assert other.calls > 0


def test_other_seeds_write_other_texts(tmp_path: Path) -> None:
    task = two_label_task()
    for seed in (0, 1):
        run(tmp_path / str(seed), job_of(task, RecordingEngine(), seed=seed), until="generate")
    first, second = ({c["text"] for c in rows_of(tmp_path / str(seed), "candidates")} for seed in (0, 1))
    assert not first & second


def test_the_test_texts_decide_nothing_but_the_results(tmp_path: Path) -> None:
    """Labels and texts of the test set reach neither candidates nor adapter."""
    task = two_label_task()
    assert task.test is not None
    flipped = dataclasses.replace(task, test=tuple(dataclasses.replace(e, label="good") for e in task.test))
    runs = {}
    for name, variant in (("a", task), ("b", flipped)):
        run(tmp_path / name, job_of(variant, RecordingEngine()))
        runs[name] = {
            k: v for k, v in tree(tmp_path / name).items() if k.split("/")[0] in {"candidates.jsonl", "adapter"}
        }
    assert runs["a"] == runs["b"]


def test_tally_counts_a_relabelled_text_under_its_new_label() -> None:
    candidates = [Candidate(str(i), "t", "good", 0, "p") for i in range(3)]
    verdicts = [
        Verdict("0", "kept", "agrees", "good"),
        Verdict("1", "relabelled", "relabelled", "bad"),
        Verdict("2", "rejected", "disagrees", "good"),
    ]
    tallies = tally(two_label_task(), candidates, verdicts)
    assert (tallies["good"].written, tallies["good"].kept) == (3, 1)
    assert (tallies["bad"].written, tallies["bad"].kept) == (0, 1)


@pytest.mark.parametrize(("limit", "written"), [(1, 2), (150, 4)])  # what was begun is kept
def test_out_of_time_stops_writing_with_the_labels_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, written: int
) -> None:
    clock = iter(range(0, 1_000_000, 100))  # each piece takes 100 seconds
    monkeypatch.setattr("handful.rounds.time.monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("handful.rounds._WRITTEN_AT_ONCE", 2)
    listener = Listener()
    overrides = (
        f"generate.max_seconds={limit}",
        "generate.batch_size=1",
        "generate.synthetic_per_label=5",
        "generate.max_candidates_per_label=1000",
    )
    run(tmp_path / "run", job_of(two_label_task(), RecordingEngine(), *overrides), until="filter", listener=listener)
    assert [s for s in listener.stages if s.startswith("write")] == ["write, round 1"]
    intended = [row["intended_label"] for row in rows_of(tmp_path / "run", "candidates")]
    assert intended == ["good", "bad"] * (written // 2)
    assert any("generate.max_seconds" in warning for warning in listener.warnings)
    # Given again, with time for more, it stays with what was decided.
    candidates = (tmp_path / "run" / "candidates.jsonl").read_bytes()
    monkeypatch.setattr("handful.rounds.time.monotonic", lambda: 0.0)
    engine = RecordingEngine()
    run(tmp_path / "run", job_of(two_label_task(), engine, *overrides), until="filter")
    assert engine.calls == 0
    assert (tmp_path / "run" / "candidates.jsonl").read_bytes() == candidates
