from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest

from benchmarks.accuracy.bounds import as_csv, as_said, check_draw, judges_answers, main, measure
from handful.benchmark.benchmark import run_benchmark
from handful.benchmark.plan import BenchmarkPlan, Cell
from handful.errors import RunError
from handful.evaluation.methods import METHODS, ORACLE, OURS
from handful.progress import Silent
from handful.records import Verdict
from handful.run import open_run
from handful.training_plan import CheckpointStore, TrainingPlan
from tests.commands import handful, write_task
from tests.toys import RecordingEngine, job_of, small_recipe, two_label_task

MANIFEST: dict[str, dict[str, str]] = {"identity": {}, "environment": {}}


def test_the_oracles_labels_take_the_place_of_the_judges() -> None:
    verdicts = [
        Verdict("0", "kept", "agrees", "good", (0.9, 0.1), (-0.1, -2.3), 0.8),
        Verdict("1", "rejected", "disagrees", "good", (0.2, 0.8), (-1.6, -0.2), -0.6),
        Verdict("2", "rejected", "duplicate", "bad"),
    ]
    first, second, third = as_said(two_label_task(), verdicts, {"0": "bad", "1": "good"})
    assert (first.decision, first.label, first.label_probabilities) == ("kept", "bad", (0.0, 1.0))
    assert (second.decision, second.label, second.label_probabilities) == ("kept", "good", (1.0, 0.0))
    assert third == verdicts[2]


class KeepingEngine(RecordingEngine):
    """Keeps what is trained on."""

    plans: list[TrainingPlan]

    def train(self, plan: TrainingPlan, checkpoints: CheckpointStore, on_step: object) -> dict[str, bytes]:
        self.plans.append(plan)
        return super().train(plan, checkpoints, on_step)


def test_bounds_are_measured_on_the_benchmarks_own_texts_and_go_on(tmp_path: Path) -> None:
    engine = KeepingEngine()
    object.__setattr__(engine, "plans", [])
    task, methods = two_label_task(), (METHODS[OURS], ORACLE)
    plan = BenchmarkPlan((task,), methods, (0,), small_recipe(), engine, 3)
    with open_run(tmp_path / "bench", MANIFEST) as run:
        run_benchmark(plan, run, Silent())
    ours = next(p for p in engine.plans if any(row.source == "synthetic" for row in p.rows))
    engine.plans.clear()
    cell = Cell(plan, task, METHODS[OURS], 0)
    with open_run(tmp_path / "bounds", MANIFEST) as run:
        rows = measure(cell, tmp_path / "bench", run, Silent())
        trained = engine.plans[-1]
        count = len(engine.plans)
        assert measure(cell, tmp_path / "bench", run, Silent()) == rows
        assert len(engine.plans) == count
    assert not list((tmp_path / "bounds" / "steps").glob("*checkpoint*"))
    assert [row["bound"] for row in rows] == ["judges", "oracle_labels"]
    assert {row["n_test"] for row in rows} == {3}
    written = {row.text for row in ours.rows if row.source == "synthetic"}
    learnt = [row for row in trained.rows if row.source == "synthetic"]
    assert written & {row.text for row in learnt}
    assert all(sorted(row.label_probabilities) == [0.0, 1.0] for row in learnt)
    assert next(iter(csv.DictReader(as_csv(rows).decode().splitlines())))["task"] == "films"


def test_the_judges_answer_the_test_texts(tmp_path: Path) -> None:
    task = two_label_task()
    with open_run(tmp_path / "run", MANIFEST) as run:
        answers = judges_answers(job_of(task, RecordingEngine()), run, Silent())
    # The stand-in counts words that a text shares with the demonstrations.
    assert answers == [example.label for example in task.test or ()]


def test_the_command_takes_a_finished_benchmark_and_some_of_its_seeds(tmp_path: Path) -> None:
    write_task(tmp_path)
    task, bench = tmp_path / "task.yaml", tmp_path / "bench"
    plain = ("--recipe", "fast", "--model", "scripted")
    methods = ("--methods", "lora_synthetic,lora_real:full", "--seeds", "3", "--shots-per-label", "4")
    assert handful("benchmark", task, *plain, *methods, "-o", bench).code == 0
    asked = [str(bench), str(task), *plain, "-o", str(tmp_path / "bounds"), "--seeds", "1-2", "--test-limit", "2"]
    assert main(asked) == 0
    rows = list(csv.DictReader((tmp_path / "bounds" / "bounds.csv").read_text().splitlines()))
    assert [(row["seed"], row["bound"], row["n_test"]) for row in rows] == [
        (seed, bound, "2") for seed in "12" for bound in ("judges", "oracle_labels")
    ]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--recipe", "fast", "--shots-per-label", "2"), "another shots_per_label"),
        (("--recipe", "default", "--shots-per-label", "4"), "another recipe"),
    ],
)
def test_benchmarks_of_other_draws_are_refused(tmp_path: Path, given: tuple[str, ...], named: str) -> None:
    write_task(tmp_path)
    task, bench = tmp_path / "task.yaml", tmp_path / "bench"
    small = ("--set", "generate.synthetic_per_label=4") if "default" in given else ()
    methods = ("--methods", "lora_synthetic", "--seeds", "1", "--model", "scripted", *small)
    assert handful("benchmark", task, *methods, *given, "-o", bench).code == 0
    asked = [str(bench), str(task), "--model", "scripted", "--recipe", "fast", "-o", str(tmp_path / "bounds")]
    with pytest.raises(RunError, match=named):
        main(asked)


def test_draws_of_other_examples_are_refused(tmp_path: Path) -> None:
    with open_run(tmp_path / "run", MANIFEST) as run:
        run.publish_json("task", two_label_task().to_dict())
    check_draw(tmp_path / "run", two_label_task())
    fewer = dataclasses.replace(two_label_task(), examples=two_label_task().examples[1:])
    for drawn in (tmp_path / "run", tmp_path / "none"):
        with pytest.raises(RunError, match="other examples"):
            check_draw(drawn, fewer)


def test_recipes_that_do_not_exist_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main([str(tmp_path), "trec", "-o", str(tmp_path / "bounds"), "--recipe", "best"])
    assert refused.value.code == 2
    assert "default" in capsys.readouterr().err
