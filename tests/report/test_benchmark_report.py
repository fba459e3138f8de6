"""The page of a benchmark that the scripted model made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handful.benchmark.benchmark import run_benchmark
from handful.benchmark.plan import BenchmarkPlan
from handful.errors import RunError
from handful.evaluation.methods import methods_of
from handful.records import Example
from handful.report.benchmark_answers import answer_sections, pooled
from handful.report.benchmark_report import BenchmarkData, benchmark_page, read_benchmark, write_benchmark_report
from handful.report.page import Figure, Figures, Page, Table
from handful.report.render import render_page
from handful.run import open_run, read_jsonl
from handful.task import Task
from tests.toys import Listener, RecordingEngine, small_recipe, two_label_task

METHODS = (
    "zero_shot,lora_real:1,lora_real:2@1,lora_real,lora_real:full@2,lora_synthetic,lora_synthetic[first=2,30],lora_synthetic[first=3,30],"
    "lora_synthetic[generate.temperature=0.5],lora_synthetic[generate.top_k=9]@1"
)


def films_with_more() -> Task:
    """Films with as many real texts as are written at most."""
    task = two_label_task()
    more = [
        Example(f"{text} {n}", label) for n in range(40) for text, label in (("a warm one", "good"), ("dull", "bad"))
    ]
    return dataclasses.replace(task, examples=(*task.examples, *more))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "bench"
    plan = BenchmarkPlan(
        tasks=(films_with_more(),),
        methods=methods_of(METHODS),
        seeds=(0, 1),
        recipe=small_recipe(),
        engine=RecordingEngine(),
        shots_per_label=3,
    )
    with open_run(folder, {"identity": plan.identity(), "environment": {}}) as run:
        run_benchmark(plan, run, Listener())
        write_benchmark_report(run)
    return folder


def titles(page: Page) -> list[str]:
    return [section.title for section in page.sections]


def test_the_page_has_every_figure_of_the_paper(directory: Path) -> None:
    page = benchmark_page(read_benchmark(directory))
    assert titles(page) == [
        "films: methods",
        "films: label by label",
        "films: can the probabilities be believed?",
        "films: mistakes",
        "films: what was written, and what was kept",
        "films: labels the filter takes for one another",
        "films: more data",
        "films: more texts",
        "films: what was written",
        "films: words",
        "What it cost",
        "What this does not say",
        "What was run",
    ]
    by_title = {section.title: section.blocks for section in page.sections}
    (accuracy,), (diversity,) = by_title["films: more data"], by_title["films: more texts"]
    assert isinstance(accuracy, Figure)
    assert isinstance(diversity, Figure)
    sizes = {(row[0], row[1]) for row in accuracy.table.rows}
    assert sizes == {
        *(("LoRA on real", size) for size in "123"),
        *(("ours", size) for size in "235"),
    }
    # Of the draw with most texts alone: its sizes up to 30.
    assert [row[1] for row in diversity.table.rows if row[0] == "written and kept"] == ["4", "10", "25", "30"]
    assert {row[0] for row in diversity.table.rows} == {"real", "written and kept"}
    for draw in read_benchmark(directory).draws:
        assert all(point["kept"] > 0 and point.get("real", 1) > 0 for point in draw["growth"])
    clouds = [block for block in by_title["films: words"] if isinstance(block, Figures)]
    assert len(clouds) == 2


def test_what_the_oracle_says_of_the_filter_is_counted(directory: Path) -> None:
    data = read_benchmark(directory)
    for row in data.draws:
        precision = row["precision"]
        assert precision["before"]["total"] == row["n_judged"]
        assert precision["after"]["total"] == row["n_kept"]
        assert precision["relabelled"]["total"] == row["n_relabelled"]
    text = render_page(benchmark_page(data)).decode()
    assert "right by the oracle" in text
    assert "generate.temperature=0.5" in text


def test_ways_of_writing_are_told_apart_by_what_stands_last_in_their_names(directory: Path) -> None:
    data = read_benchmark(directory)
    draw = data.draws[0]
    shared = ["generate.synthetic_per_label=24", "filter.judges=1", "generate.batch_size=8"]
    ways = [{**draw, "changes": [*shared, last]} for last in ("generate.num_beams=2", "generate.temperature=0.7")]
    text = render_page(benchmark_page(dataclasses.replace(data, draws=[*data.draws, *ways]))).decode()
    assert all(f"{', '.join(way['changes'])}<" in text for way in ways)


def test_the_same_files_make_the_same_page(directory: Path) -> None:
    assert (directory / "report.html").read_bytes() == render_page(benchmark_page(read_benchmark(directory)))


def test_the_verdict_says_how_sure_it_is(directory: Path) -> None:
    page = benchmark_page(read_benchmark(directory))
    assert page.verdict.headline.startswith("films: ours (3 + 5) and LoRA-3 cannot be told apart.")
    assert "95 % interval" in page.verdict.headline


def gain(mean: float, low: float, high: float, n_seeds: int = 2) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high, "p_value": 0.5, "n_seeds": n_seeds}


def won_by(data: BenchmarkData, low: float, high: float) -> str:
    """The headline where the best method is another than ours, whose gain has this interval."""
    (result,) = data.results
    methods = [dict(row) for row in result["methods"]]
    for row in methods:
        row["accuracy"] = {**row["accuracy"], "mean": 0.9 if row["spec"] == "lora_real" else 0.5}
        if row["spec"] == "lora_real":
            row["gain_of_ours"] = gain((low + high) / 2, low, high)
    changed = dataclasses.replace(data, results=[{**result, "methods": methods}])
    return benchmark_page(changed).verdict.headline


def test_a_benchmark_that_draws_nothing_does_not_say_it_does(tmp_path: Path, directory: Path) -> None:
    assert (
        "each draws its examples, writes and trains anew"
        in render_page(benchmark_page(read_benchmark(directory))).decode()
    )
    plan = BenchmarkPlan((two_label_task(),), methods_of("zero_shot"), (0, 1), small_recipe(), RecordingEngine(), None)
    with open_run(tmp_path / "bench", {"identity": plan.identity(), "environment": {}}) as run:
        run_benchmark(plan, run, Listener())
    html = render_page(benchmark_page(read_benchmark(tmp_path / "bench"))).decode()
    assert "each writes and trains anew" in html
    assert "intervals are for other seeds" in html
    assert "not another draw of them" in html


def test_what_needs_no_text_is_said_where_nothing_is_better(directory: Path) -> None:
    data = read_benchmark(directory)
    (result,) = data.results
    assert result["chance"] == pytest.approx(2 / 3)  # two of the three test texts are bad
    said = [sentence for sentence in benchmark_page(data).verdict.details if "commonest label" in sentence]
    assert len(said) == 1
    better = [{**row, "accuracy": {**row["accuracy"], "low": 0.7}} for row in result["methods"]]
    page = benchmark_page(dataclasses.replace(data, results=[{**result, "methods": better}]))
    assert not any("commonest" in sentence for sentence in page.verdict.details)


def test_test_texts_among_any_examples_are_told(tmp_path: Path) -> None:
    task = two_label_task()
    warnings = (
        "2 test texts are also examples, first <b>here</b>",
        "9 repeat, first /a/b/t.csv:1 (as /a/b/t.csv:2)",
    )
    leaking = dataclasses.replace(task, warnings=warnings)
    plan = BenchmarkPlan((leaking,), methods_of("zero_shot"), (0,), small_recipe(), RecordingEngine(), 3)
    with open_run(tmp_path / "bench", {"identity": plan.identity(), "environment": {}}) as run:
        run_benchmark(plan, run, Listener())
    html = render_page(benchmark_page(read_benchmark(tmp_path / "bench"))).decode()
    assert html.count("2 test texts are also examples, first &lt;b&gt;here") == 1
    assert "9 repeat, first b/t.csv:1 (as b/t.csv:2)" in html


def test_cells_of_different_versions_are_told(directory: Path) -> None:
    data = read_benchmark(directory)
    assert "different versions" not in render_page(benchmark_page(data)).decode()
    older = {**data.cells[0], "versions": {**data.cells[0]["versions"], "torch": "1.0"}}
    html = render_page(benchmark_page(dataclasses.replace(data, cells=[older, *data.cells[1:]]))).decode()
    assert "different versions: torch 1.0 and" in html


def test_a_loss_is_called_a_loss(directory: Path) -> None:
    data = read_benchmark(directory)
    lost = won_by(data, -0.3, -0.1)
    assert lost.startswith("films: use LoRA-3. ")
    assert "ours is worse, \u221220.0 points" in lost
    assert won_by(data, 0.1, 0.3).startswith("films: use ours (3 + 5). ")
    assert "ours (3 + 5) and LoRA-3 cannot be told apart" in won_by(data, -0.1, 0.1)


def test_what_needs_more_examples_or_is_a_part_of_ours_is_no_rival(directory: Path) -> None:
    data = read_benchmark(directory)
    (result,) = data.results
    methods = [dict(row) for row in result["methods"]]
    for row in methods:
        better = row["spec"] in {"lora_real:full", "lora_real:2", "lora_synthetic[generate.temperature=0.5]"}
        row["accuracy"] = {**row["accuracy"], "mean": 0.9 if better else 0.5}
        row["gain_of_ours"] = gain(-0.4 if better else 0.0, -0.5, 0.1)
    page = benchmark_page(dataclasses.replace(data, results=[{**result, "methods": methods}]))
    assert "0.900" not in page.verdict.headline
    said = page.verdict.details[-1]
    assert said == (
        "films, with more labelled examples: LoRA-full 0.900 (2 seeds), 40.0 points ahead of ours on the same seeds "
        "(95 % interval \u221210.0 to +50.0)."
    )
    for row in methods:  # of three examples a label, one and two are fewer
        row["gain_of_ours"] = {**row["gain_of_ours"], "mean": 0.0}
    page = benchmark_page(dataclasses.replace(data, results=[{**result, "methods": methods}]))
    assert page.verdict.details[-1].endswith("as often as ours on the same seeds.")


def test_what_was_measured_with_fewer_seeds_does_not_look_surer_or_better(directory: Path) -> None:
    (section,) = (s for s in benchmark_page(read_benchmark(directory)).sections if s.title == "films: methods")
    chart, methods, settings, cost = section.blocks
    assert isinstance(chart, Figure)
    assert isinstance(methods, Table)
    assert isinstance(settings, Table)
    assert isinstance(cost, Table)
    names = [row[0] for row in chart.table.rows]
    assert [name for name in names if "seed" in name] == ["LoRA-2 (1 seed)"]
    # What is no method but a setting stands in a table of its own, and is in no chart.
    assert [row[0] for row in settings.rows] == [
        "ours (3 + 5), generate.temperature=0.5",
        "ours (3 + 5), generate.top_k=9",
    ]
    assert not any("generate" in name for name in (*names, *(row[0] for row in methods.rows)))
    gains = {row[0]: row[4] for row in (*methods.rows, *settings.rows)}
    for name, gain in gains.items():
        one = name in {"LoRA-2", "ours (3 + 5), generate.top_k=9"}
        assert ("one seed; for other texts alone" in gain) == one
        assert (", p " in gain) == (not one and name != "ours (3 + 5)")
    assert len(cost.rows) == len(methods.rows) + len(settings.rows)


def test_a_peer_is_not_said_to_need_the_memory_of_the_model_that_was_loaded_before(directory: Path) -> None:
    data = read_benchmark(directory)
    (result,) = data.results
    methods = [{**row, "spec": "tfidf"} if row["spec"] == "zero_shot" else row for row in result["methods"]]
    assert all(row["means"]["peak_memory_mb"] for row in methods)
    page = benchmark_page(dataclasses.replace(data, results=[{**result, "methods": methods}]))
    cost = next(section for section in page.sections if section.title == "films: methods").blocks[-1]
    assert isinstance(cost, Table)
    assert [row[0] for row in cost.rows if row[-1] == "\u2013"] == ["0-shot"]


def test_the_answers_of_all_seeds_are_taken_together(directory: Path) -> None:
    data = read_benchmark(directory)
    together = pooled(data.runs["films"])
    assert together.answers is not None
    first, second = ((draw.answers or {})["lora_synthetic"] for draw in data.runs["films"])
    assert together.answers["lora_synthetic"].predicted == first.predicted + second.predicted
    assert set(together.answers) == {"zero_shot", "lora_real", "lora_synthetic"}
    means = {row["spec"]: row["accuracy"]["mean"] for row in data.results[0]["methods"]}
    for row in (together.results or {})["methods"]:
        assert row["accuracy"] == pytest.approx(means[row["method"]])


def test_one_seed_is_not_called_several(directory: Path) -> None:
    draws = read_benchmark(directory).runs["films"]
    one, two = ({section.title: section.intro for section in answer_sections(draws[:n])} for n in (1, 2))
    for said in ("together", "The first seed", "on average over"):
        assert said not in " ".join(one.values())
        assert said in " ".join(two.values())


def test_without_results_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no results yet"):
        read_benchmark(tmp_path)


@pytest.mark.parametrize("draw", ["../bench/runs/films/seed0", "/etc", "runs/../../other"])
def test_draws_are_read_from_the_benchmark_alone(tmp_path: Path, directory: Path, draw: str) -> None:
    (tmp_path / "results.json").write_bytes((directory / "results.json").read_bytes())
    cells = [{**cell, "draw": draw} for cell in read_jsonl(directory / "cells.jsonl")]
    (tmp_path / "cells.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    with pytest.raises(RunError, match=r"cells\.jsonl: .* is no draw\. Give the benchmark's command again"):
        read_benchmark(tmp_path)


def test_the_page_says_in_what_was_computed(directory: Path) -> None:
    data = read_benchmark(directory)
    assert "Computed with" not in render_page(benchmark_page(data)).decode()
    asked = {**data.identity, "precision": "bfloat16", "load_in_4bit": True}
    page = render_page(benchmark_page(dataclasses.replace(data, identity=asked))).decode()
    assert "Computed with precision bfloat16, a base model in 4 bits." in page


def test_a_method_of_one_seed_is_neither_picked_nor_beaten_for_it(directory: Path) -> None:
    """Its seed may have been an easy one, and its interval knows nothing of others."""
    data = read_benchmark(directory)
    (result,) = data.results
    rows = {row["spec"]: row for row in result["methods"]}
    lucky = {
        **rows["lora_real"],
        "spec": "setfit@1",
        "title": "SetFit",
        "accuracy": {**rows["lora_real"]["accuracy"], "mean": 0.99, "n_seeds": 1},
        "gain_of_ours": gain(-0.3, -0.4, -0.2, n_seeds=1),
    }

    def said(*methods: Mapping[str, Any]) -> str:
        changed = dataclasses.replace(data, results=[{**result, "methods": methods}])
        return benchmark_page(changed).verdict.headline

    assert "ours (3 + 5) and LoRA-3 cannot be told apart" in said(*result["methods"], lucky)
    alone = said(rows["lora_synthetic"], lucky)
    assert alone.startswith("films: which method to use cannot be told from one seed. Ours (3 + 5) is right ")
    assert alone.endswith(" on the one seed that both have.")


def test_a_rival_that_passes_ours_once_calibrated_is_named(directory: Path) -> None:
    data = read_benchmark(directory)
    (result,) = data.results

    def said(accuracy: float) -> list[str]:
        changed = {"pool_accuracy": {"mean": accuracy, "sd": 0.01, "n_seeds": 2}}
        methods = [{**row, **(changed if row["spec"] == "lora_real" else {})} for row in result["methods"]]
        page = benchmark_page(dataclasses.replace(data, results=[{**result, "methods": methods}]))
        return [
            sentence for sentence in page.verdict.details if sentence.startswith("films: LoRA-3 with its label prior")
        ]

    ours = next(row for row in result["methods"] if row["spec"] == "lora_synthetic")["accuracy"]["mean"]
    assert said(ours) == []
    (sentence,) = said(0.999)
    assert "with its label prior taken out, as the written texts show it, is right " in sentence
    assert "0.999 ± 0.010 of the time, ours as it answers" in sentence
