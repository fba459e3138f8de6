from __future__ import annotations

import csv
import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handful.benchmark.benchmark import TaskResults, run_benchmark
from handful.benchmark.draw import draw_directory
from handful.benchmark.plan import BenchmarkPlan
from handful.benchmark.scoring import ScoredCell
from handful.benchmark.tables import markdown, summarise, table_of
from handful.calibration import estimate_shift, label_probabilities
from handful.errors import HandfulError, Interrupted, RunError, TaskError
from handful.evaluation.methods import methods_of
from handful.evaluation.metrics import log_loss
from handful.recipe import PRESETS
from handful.recipe_file import change_recipe
from handful.report.comparison import rows_by_method
from handful.report.run_data import read_run
from handful.report.run_report import run_page
from handful.run import open_run, read_jsonl
from tests.toys import Listener, RecordingEngine, RecordingLLM, small_recipe, two_label_task

ALL = "zero_shot,in_context,lora_real,lora_real:2,lora_real:full,lora_synthetic,lora_synthetic_unfiltered"


def plan_of(
    methods: str = ALL, *, seeds: int = 2, engine: RecordingEngine | None = None, **changes: Any
) -> BenchmarkPlan:
    settings: dict[str, Any] = {
        "tasks": (two_label_task(),),
        "shots_per_label": 3,
        "recipe": small_recipe(),
        **changes,
    }
    return BenchmarkPlan(
        methods=methods_of(methods),
        seeds=tuple(range(seeds)),
        engine=engine or RecordingEngine(),
        **settings,
    )


def measure(plan: BenchmarkPlan, directory: Path, listener: Listener | None = None) -> list[TaskResults]:
    with open_run(directory, {"identity": plan.identity(), "environment": {}}) as run:
        return run_benchmark(plan, run, listener or Listener())


def published(directory: Path) -> dict[str, Any]:
    """What a benchmark says, without what its clock said."""
    rows = list(csv.DictReader((directory / "accuracy.csv").read_text().splitlines()))
    timed = ("ms_per_text", "train_seconds", "generate_seconds")
    return {"rows": [{key: value for key, value in row.items() if key not in timed} for row in rows]}


def test_a_draw_that_is_a_link_is_refused(tmp_path: Path) -> None:
    plan, elsewhere = plan_of("zero_shot", seeds=1), tmp_path / "elsewhere"
    measure(plan, tmp_path / "bench")
    draw = tmp_path / "bench" / draw_directory(next(plan.cells()))
    shutil.rmtree(draw)
    elsewhere.mkdir()
    draw.symlink_to(elsewhere)
    with pytest.raises(RunError, match="is a link"):
        measure(plan, tmp_path / "bench")
    assert not list(elsewhere.iterdir())


def test_a_method_may_have_a_name_that_no_file_may_have(tmp_path: Path) -> None:
    settings = [f"train.{key}" for key in ("epochs=1", "lora_dropout=0.1", "lora_rank=4", "lora_alpha=16")]
    spec = f"lora_real[{','.join([*settings * 4, 'train.weight_decay=0.01'])}]"
    assert len(spec) > 255
    (result,) = measure(plan_of(f"lora_synthetic,{spec}", seeds=1), tmp_path / "bench")
    assert [summary.spec for summary in result.summaries] == ["lora_synthetic", spec]


def test_every_cell_is_measured_and_every_calibration_has_its_row(tmp_path: Path) -> None:
    (result,) = measure(plan_of(), tmp_path / "bench")
    rows = published(tmp_path / "bench")["rows"]
    cells = {(row["method"], row["shots_per_label"], row["seed"]) for row in rows}
    assert cells == {
        *((name, "3", seed) for name in ("zero_shot", "in_context", "lora_real") for seed in "01"),
        *((name, "3", seed) for name in ("lora_synthetic", "lora_synthetic_unfiltered") for seed in "01"),
        ("lora_real", "2", "0"),
        ("lora_real", "2", "1"),
        ("lora_real", "full", "0"),
    }
    by_calibration = {name: [row for row in rows if row["calibration"] == name] for name in ("raw", "pool", "test")}
    assert len(by_calibration["raw"]) == 13
    assert len(by_calibration["pool"]) == len(by_calibration["test"]) == 12  # the full training set has no pool
    assert {row["transductive"] for row in by_calibration["test"]} == {"true"}
    assert {row["transductive"] for row in by_calibration["raw"] + by_calibration["pool"]} == {"false"}
    assert {row["synthetic_per_label"] for row in rows if row["method"] == "lora_synthetic"} == {"5"}
    assert {row["synthetic_per_label"] for row in rows if row["method"] == "lora_real"} == {"0"}
    assert [summary.spec for summary in result.summaries] == ALL.split(",")


def test_a_method_can_have_fewer_seeds(tmp_path: Path) -> None:
    (result,) = measure(plan_of("lora_synthetic,lora_real:2@1,lora_real:full@2"), tmp_path / "bench")
    assert {summary.spec: summary.accuracy.n_seeds for summary in result.summaries} == {
        "lora_synthetic": 2,
        "lora_real:2": 1,
        "lora_real:full": 2,
    }
    real = result.summaries[1]
    one, more = (markdown([summary]).splitlines()[-1].split("|")[3] for summary in (real, result.summaries[2]))
    assert "±" in more
    assert "±" not in one
    assert real.gain_of_ours is not None
    assert real.gain_of_ours.n_seeds == 1
    columns, rows = table_of(result.summaries)
    shown = {row[0]: dict(zip(columns, row, strict=True)) for row in rows}
    assert shown[real.title]["ours less it"].endswith("), one seed")
    assert shown[real.title]["p"] == ""
    assert shown["LoRA-full"]["ours less it"].endswith(")")
    assert shown["LoRA-full"]["p"] != ""
    ours = next(cell for cell in result.cells if cell.score.spec == "lora_synthetic" and cell.score.seed == 0)
    assert real.gain_of_ours.mean == pytest.approx(ours.score.accuracy - real.accuracy.mean)


def test_the_whole_training_set_is_passed_as_often_as_asked(tmp_path: Path) -> None:
    """Whatever bounds the recipe's steps."""
    engine = RecordingEngine()
    plan = plan_of(
        "lora_real:full", engine=engine, full_epochs=9, recipe=small_recipe("train.min_steps=0", "train.max_steps=2")
    )
    measure(plan, tmp_path / "bench")
    steps_per_epoch = math.ceil(len(two_label_task().examples) / plan.recipe.train.batch_size)
    assert engine.trained == [9 * steps_per_epoch]


def test_scores_are_made_of_the_saved_answers(tmp_path: Path) -> None:
    task = two_label_task()
    assert task.test is not None
    (result,) = measure(plan_of("in_context", seeds=1), tmp_path / "bench")
    (run,) = (tmp_path / "bench" / "runs").iterdir()
    saved = list(read_jsonl(run / "predictions" / "in_context.jsonl"))
    log_probs = np.array([row["log_probs"] for row in saved])
    gold = [task.label_names.index(example.label) for example in task.test]
    for cell in result.cells:
        if cell.score.calibration == "test":
            probabilities = label_probabilities(log_probs, estimate_shift(log_probs, "match"))
        elif cell.score.calibration == "raw":
            probabilities = label_probabilities(log_probs)
        else:
            (cell_file,) = (run / "steps").glob("cell-in_context-*")
            pool = json.loads(cell_file.read_text().splitlines()[0])["pool_log_probs"]
            probabilities = label_probabilities(log_probs, estimate_shift(pool, "match"))
            assert pool != log_probs.tolist()
        assert cell.score.log_loss == pytest.approx(log_loss(probabilities, gold))
        assert cell.score.accuracy == (probabilities.argmax(axis=1) == gold).mean()
        assert list(cell.predicted) == probabilities.argmax(axis=1).tolist()
    lines = list(read_jsonl(tmp_path / "bench" / "cells.jsonl"))
    assert len(lines) == 1
    assert lines[0]["recipe_settings"] == small_recipe().to_dict()
    assert lines[0]["model_fingerprint"] == "scripted-1"
    assert {"versions", "commit", "seed", "task_fingerprint", "threads"} <= lines[0].keys()
    raw = next(cell for cell in result.cells if cell.score.calibration == "raw")
    assert sum(map(sum, lines[0]["confusions"])) == len(gold)
    assert [lines[0]["confusions"][true][said] for true, said in zip(gold, raw.predicted, strict=True)].count(0) == 0
    assert [row["label"] for row in lines[0]["labels"]] == list(task.label_names)
    assert np.mean([row["f1"] for row in lines[0]["labels"]]) == pytest.approx(raw.score.macro_f1)


def test_the_memory_of_writing_counts_for_what_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter((900.0, 300.0, 200.0))  # of writing and judging, then of the cells
    monkeypatch.setattr("handful.environment.peak_memory_mb", lambda: next(peaks))
    measure(plan_of("lora_synthetic,lora_real", seeds=1), tmp_path / "bench")
    lines = read_jsonl(tmp_path / "bench" / "cells.jsonl")
    assert [(row["spec"], row["peak_memory_mb"]) for row in lines] == [("lora_synthetic", 900.0), ("lora_real", 200.0)]


def test_a_seed_draws_the_examples_and_a_larger_draw_holds_the_smaller() -> None:
    cells = {(cell.method.key, cell.seed): cell for cell in plan_of("lora_real:2,lora_synthetic").cells()}
    two, three = cells["lora_real:2", 0].job().task, cells["lora_synthetic", 0].job().task
    assert set(two.examples) < set(three.examples)
    assert set(three.examples) != set(cells["lora_synthetic", 1].job().task.examples)


def test_ours_with_more_examples_writes_from_them(tmp_path: Path) -> None:
    plan = plan_of("lora_synthetic,lora_synthetic:2,lora_real:2", seeds=1)
    cells = {cell.method.key: cell for cell in plan.cells()}
    two = cells["lora_synthetic:2"]
    assert set(two.handful().task.examples) == set(two.job().task.examples)
    assert len(two.handful().task.examples) == 4
    assert draw_directory(two) != draw_directory(cells["lora_synthetic"]) == draw_directory(cells["lora_real:2"])
    (result,) = measure(plan, tmp_path / "bench")
    assert [summary.title for summary in result.summaries][1] == "ours (2 + 5)"
    draws = list(read_jsonl(tmp_path / "bench" / "draws.jsonl"))
    assert [draw["changes"] for draw in draws] == [[], ["shots_per_label=2"]]
    with pytest.raises(TaskError, match="judges need 2 examples"):
        plan_of("lora_synthetic:1").check()


def test_each_of_many_labels_gets_its_part_and_a_given_number_holds(tmp_path: Path) -> None:
    recipe = change_recipe(small_recipe(), ("generate.synthetic_in_all=6",))
    plan = plan_of("lora_synthetic,lora_synthetic[4]", seeds=1, recipe=recipe)
    assert [cell.synthetic_per_label for cell in plan.cells()] == [3, 4]
    (result,) = measure(plan, tmp_path / "bench")
    assert [summary.title for summary in result.summaries] == ["ours (3 + 3)", "ours (3 + 4)"]
    assert [line["n_training"] for line in read_jsonl(tmp_path / "bench" / "cells.jsonl")] == [12, 14]


def test_each_draw_has_the_number_that_its_own_examples_make() -> None:
    task = two_label_task()
    long = {label: task.examples_of(label)[0] for label in task.label_names}
    longer = [dataclasses.replace(e, text=e.text + " so" * 200) if e in long.values() else e for e in task.examples]
    task = dataclasses.replace(task, examples=tuple(longer))
    recipe = change_recipe(PRESETS["default"], ("filter.judge=in_context",))
    plan = plan_of("lora_synthetic", seeds=20, recipe=recipe, tasks=(task,), shots_per_label=1)
    for cell in plan.cells():
        drawn = cell.handful()
        n_long = sum(len(example.text) > 400 for example in drawn.task.examples)
        assert cell.synthetic_per_label == drawn.recipe.generate.synthetic_per_label == (72, 20, 20)[n_long]
    assert len({cell.synthetic_per_label for cell in plan.cells()}) == 2


def test_where_nothing_is_judged_one_example_of_a_label_is_enough() -> None:
    alone = change_recipe(small_recipe(), ("generate.synthetic_per_label=0",))
    plan_of("lora_real", recipe=alone, shots_per_label=1).check()
    with pytest.raises(TaskError, match="judges need 2 examples"):
        plan_of("lora_real,lora_synthetic", shots_per_label=1).check()


def test_seconds_are_means_over_what_no_stop_came_between(tmp_path: Path) -> None:
    plan = plan_of("lora_real", seeds=3)
    (result,) = measure(plan, tmp_path / "bench")
    seconds = {0: None, 1: 4.0, 2: 8.0}

    def timed(cell: ScoredCell) -> ScoredCell:
        return dataclasses.replace(cell, score=dataclasses.replace(cell.score, train_seconds=seconds[cell.score.seed]))

    (summary,) = summarise(plan, result.task, [timed(cell) for cell in result.cells])
    assert summary.means["train_seconds"] == 6.0


def test_the_handful_by_its_number_shares_the_texts_of_the_handful() -> None:
    plan = plan_of("lora_synthetic,lora_synthetic:3,lora_synthetic:2", seeds=1)
    same, named, fewer = (draw_directory(cell) for cell in plan.cells())
    assert same == named != fewer


def test_methods_that_none_of_the_seeds_has_are_named(tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of("zero_shot,lora_real:full"), seeds=(3,))
    listener = Listener()
    (result,) = measure(plan, tmp_path / "bench", listener)
    assert [summary.spec for summary in result.summaries] == ["zero_shot"]
    assert [said for said in listener.warnings if "lora_real:full is left out" in said]


def test_of_draws_that_differ_no_one_number_of_written_texts_is_said(tmp_path: Path) -> None:
    plan = plan_of("lora_synthetic")
    (result,) = measure(plan, tmp_path / "bench")
    assert result.summaries[0].synthetic_per_label == plan.recipe.generate.synthetic_per_label
    cells = [
        dataclasses.replace(cell, score=dataclasses.replace(cell.score, synthetic_per_label=2 + cell.score.seed))
        for cell in result.cells
    ]
    assert summarise(plan, result.task, cells)[0].synthetic_per_label is None


def test_a_rare_label_gives_all_it_has() -> None:
    task = two_label_task()
    scarce = dataclasses.replace(task, examples=task.examples[:-1])
    (cell,) = plan_of("lora_real:4", seeds=1, tasks=(scarce,)).cells()
    assert len(cell.job().task.examples) == 7
    plan = plan_of("lora_synthetic", seeds=1, tasks=(scarce,), shots_per_label=4)
    plan.check()
    (cell,) = plan.cells()
    assert cell.handful().task == cell.job().task
    assert len(cell.job().task.examples) == 7


def test_the_ablations_choose_among_the_same_candidates(tmp_path: Path) -> None:
    engine = RecordingEngine()
    measure(
        plan_of("lora_synthetic,lora_synthetic_unfiltered,lora_synthetic_random", seeds=1, engine=engine),
        tmp_path / "all",
    )
    written = len(engine.recorder.generated)
    alone = RecordingEngine()
    measure(plan_of("lora_synthetic", seeds=1, engine=alone), tmp_path / "alone")
    assert written == len(alone.recorder.generated)
    lines = {row["method"]: row for row in read_jsonl(tmp_path / "all" / "cells.jsonl")}
    assert lines["lora_synthetic_unfiltered"]["n_training"] == 2 * (3 + 5)


def test_recipes_that_train_alike_but_write_otherwise_have_draws_of_their_own(tmp_path: Path) -> None:
    measure(plan_of("lora_synthetic,lora_synthetic[train.epochs=1],lora_synthetic[2]", seeds=1), tmp_path / "bench")
    assert len(list((tmp_path / "bench" / "runs").iterdir())) == 2
    lines = {row["spec"]: row for row in read_jsonl(tmp_path / "bench" / "cells.jsonl")}
    assert lines["lora_synthetic[train.epochs=1]"]["recipe"] == "default+train.epochs=1"
    assert lines["lora_synthetic[generate.synthetic_per_label=2]"]["n_training"] == 2 * (3 + 2)


def test_sizes_of_one_draw_are_written_once_and_each_holds_the_smaller(tmp_path: Path) -> None:
    measure(
        plan_of("lora_synthetic[first=1,4],lora_synthetic[first=3,4],lora_synthetic[4]", seeds=1), tmp_path / "bench"
    )
    assert len(list((tmp_path / "bench" / "runs").iterdir())) == 1
    lines = read_jsonl(tmp_path / "bench" / "cells.jsonl")
    assert [(row["synthetic_per_label"], row["n_training"]) for row in lines] == [(1, 8), (3, 12), (4, 14)]
    (draw,) = read_jsonl(tmp_path / "bench" / "draws.jsonl")
    assert [point["texts_per_label"] for point in draw["growth"]] == [4]


def test_every_draw_publishes_what_there_is(tmp_path: Path) -> None:
    table = tmp_path / "bench" / "accuracy.csv"
    while not table.exists():
        with pytest.raises(Interrupted):
            measure(plan_of("zero_shot,lora_synthetic", seeds=2), tmp_path / "bench", Listener(stop_at=12))
    assert {row["seed"] for row in csv.DictReader(table.open(newline=""))} == {"0"}
    assert "ours" in (tmp_path / "bench" / "tables.md").read_text()


def test_a_draw_reports_like_a_run(tmp_path: Path) -> None:
    measure(plan_of("in_context,lora_real,lora_real:2,lora_synthetic", seeds=1), tmp_path / "bench")
    data = read_run(tmp_path / "bench" / "runs" / "films-seed0")
    assert list(rows_by_method(data)) == ["in_context", "lora_real", "lora_synthetic"]
    cells = {row["spec"]: row["scores"][0] for row in read_jsonl(tmp_path / "bench" / "cells.jsonl")}
    for name, row in rows_by_method(data).items():
        assert row["accuracy"] == cells[name]["accuracy"]
    assert "A benchmark keeps no classifier" in " ".join(run_page(data).verdict.details)


def test_examples_that_do_not_fit_the_prompt_leave_the_other_cells(tmp_path: Path) -> None:
    listener = Listener()
    engine = RecordingEngine(RecordingLLM(most_segments=30))
    measure(plan_of("zero_shot,in_context,lora_real", seeds=1, engine=engine), tmp_path / "bench", listener)
    assert {row["method"] for row in published(tmp_path / "bench")["rows"]} == {"zero_shot", "lora_real"}
    assert "in_context is left out: the prompt is too long" in listener.warnings


def test_of_another_test_set_nothing_is_written_or_judged_anew(tmp_path: Path) -> None:
    engine = RecordingEngine()
    measure(plan_of("lora_synthetic", seeds=1, engine=engine), tmp_path / "bench")
    written, tuned = len(engine.recorder.generated), len(engine.trained)
    task = two_label_task()
    shorter = dataclasses.replace(task, test=(task.test or ())[:2])
    measure(plan_of("lora_synthetic", seeds=1, tasks=(shorter,), engine=engine), tmp_path / "bench")
    assert [row["n_test"] for row in read_jsonl(tmp_path / "bench" / "cells.jsonl")] == [2]
    assert (len(engine.recorder.generated), len(engine.trained)) == (written, tuned + 1)


def test_other_examples_are_refused_and_forced(tmp_path: Path) -> None:
    measure(plan_of("zero_shot", seeds=1), tmp_path / "bench")
    task = two_label_task()
    other = dataclasses.replace(task, examples=(dataclasses.replace(task.examples[0], text="x"), *task.examples[1:]))
    plan = plan_of("zero_shot", seeds=1, tasks=(other,))
    with pytest.raises(RunError, match="other settings"):
        measure(plan, tmp_path / "bench")
    with open_run(tmp_path / "bench", {"identity": plan.identity(), "environment": {}}) as run:
        run_benchmark(plan, run, Listener(), force=True)
    (moved,) = tmp_path.glob("bench/runs/*/old-1")
    assert moved.is_dir()


def test_judges_need_two_examples_of_each_label() -> None:
    plan = dataclasses.replace(plan_of("zero_shot"), shots_per_label=1)
    recipe = change_recipe(plan.recipe, ("filter.judge=tuned",))
    with pytest.raises(TaskError, match="need 2 examples per label"):
        dataclasses.replace(plan, recipe=recipe).check()


def test_whole_training_sets_do_not_share_a_classifier(tmp_path: Path) -> None:
    measure(plan_of("lora_real:full,lora_real:full[train.lora_rank=4]", seeds=1), tmp_path / "bench")
    directories = {row["spec"]: row["draw"] for row in read_jsonl(tmp_path / "bench" / "cells.jsonl")}
    assert len(set(directories.values())) == 2


def test_stopped_anywhere_the_same_call_gives_the_same_table(tmp_path: Path) -> None:
    plan = plan_of("in_context,lora_real,lora_synthetic")
    measure(plan, tmp_path / "whole")
    stops = 0
    for stop_at in (1, 4, 9, 2, 30, 3, 200):
        try:
            measure(plan, tmp_path / "stopped", Listener(stop_at=stop_at))
        except Interrupted:
            stops += 1
    assert stops >= 4
    measure(plan, tmp_path / "stopped")
    assert published(tmp_path / "stopped") == published(tmp_path / "whole")


def test_finished_cells_are_not_measured_again_and_more_can_be_added(tmp_path: Path) -> None:
    engine = RecordingEngine()
    measure(plan_of("in_context,lora_synthetic", seeds=1, engine=engine), tmp_path / "bench")
    calls, trained = engine.calls, len(engine.trained)
    first = (tmp_path / "bench" / "accuracy.csv").read_bytes()
    measure(plan_of("in_context,lora_synthetic", seeds=1, engine=engine), tmp_path / "bench")
    assert (engine.calls, len(engine.trained)) == (calls, trained)
    assert (tmp_path / "bench" / "accuracy.csv").read_bytes() == first
    measure(plan_of("in_context,lora_synthetic,lora_real", seeds=2, engine=engine), tmp_path / "bench")
    judges = plan_of("lora_synthetic").recipe.filter.judges
    assert len(engine.trained) == trained + 3 + judges  # the new draw's
    assert set(first.splitlines()) < set((tmp_path / "bench" / "accuracy.csv").read_bytes().splitlines())


def test_another_recipe_does_not_mix_with_what_is_there(tmp_path: Path) -> None:
    plan = plan_of("in_context", seeds=1)
    measure(plan, tmp_path / "bench")
    with pytest.raises(RunError):
        measure(dataclasses.replace(plan, recipe=small_recipe("generate.top_k=7")), tmp_path / "bench")


def test_ours_is_compared_with_the_others_seed_by_seed(tmp_path: Path) -> None:
    (result,) = measure(plan_of("lora_real,lora_synthetic"), tmp_path / "bench")
    real, ours = result.summaries
    assert ours.gain_of_ours is None
    assert real.gain_of_ours is not None
    assert real.gain_of_ours.mean == pytest.approx(ours.accuracy.mean - real.accuracy.mean)
    results = json.loads((tmp_path / "bench" / "results.json").read_text())
    assert results["tasks"][0]["task"] == "films"
    assert "| ours (3 + 5) |" in (tmp_path / "bench" / "tables.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": (two_label_task(test=False),)}, "no test texts"),
        ({"shots_per_label": 9}, "no label has 9 examples, the most is 4"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    engine = RecordingEngine()
    with pytest.raises(TaskError, match=message):
        measure(plan_of(engine=engine, **changes), tmp_path / "bench")
    assert engine.calls == 0


def test_a_change_of_no_setting_is_said_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(HandfulError, match="temprature"):
        measure(plan_of("lora_synthetic[generate.temprature=1]"), tmp_path / "bench")
