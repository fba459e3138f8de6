"""The page of a benchmark that the scripted model made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from handful.benchmark.benchmark import run_benchmark
from handful.benchmark.plan import BenchmarkPlan
from handful.errors import RunError
from handful.evaluation.methods import methods_of
from handful.report.benchmark_report import BenchmarkData, benchmark_page, read_benchmark, write_benchmark_report
from handful.report.page import Figure, Figures, Page
from handful.report.render import render_page
from handful.run import open_run
from tests.toys import Listener, RecordingEngine, small_recipe, two_label_task

METHODS = (
    "zero_shot,lora_real:1,lora_real:2,lora_real,lora_real:full@2,lora_synthetic,lora_synthetic[first=2,30],lora_synthetic[first=3,30],"
    "lora_synthetic[generate.temperature=0.5]"
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "bench"
    plan = BenchmarkPlan(
        tasks=(two_label_task(),),
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
        "films: more data",
        "films: what was written",
        "films: words",
        "What it cost",
        "What this does not say",
        "What was run",
    ]
    by_title = {section.title: section.blocks for section in page.sections}
    accuracy, diversity = by_title["films: more data"]
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
        assert all(point["kept"] > 0 and point["real"] > 0 for point in draw["growth"])
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


def test_the_same_files_make_the_same_page(directory: Path) -> None:
    assert (directory / "report.html").read_bytes() == render_page(benchmark_page(read_benchmark(directory)))


def test_the_verdict_says_how_sure_it_is(directory: Path) -> None:
    page = benchmark_page(read_benchmark(directory))
    assert "is right most often" in page.verdict.headline
    assert "95 % interval" in page.verdict.headline


def won_by(data: BenchmarkData, low: float, high: float) -> str:
    """The headline where the best method is another than ours, whose gain has this interval."""
    (result,) = data.results
    methods = [dict(row) for row in result["methods"]]
    for row in methods:
        row["accuracy"] = {**row["accuracy"], "mean": 0.9 if row["spec"] == "lora_real" else 0.5}
        if row["spec"] == "lora_real":
            row["gain_of_ours"] = {"mean": (low + high) / 2, "low": low, "high": high, "p_value": 0.5}
    changed = dataclasses.replace(data, results=[{**result, "methods": methods}])
    return benchmark_page(changed).verdict.headline


def test_a_loss_is_called_a_loss(directory: Path) -> None:
    data = read_benchmark(directory)
    assert "Ours is worse than LoRA-3: \u221220.0 points" in won_by(data, -0.3, -0.1)
    assert "Ours and LoRA-3 cannot be told apart" in won_by(data, -0.1, 0.1)


def test_without_results_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no results yet"):
        read_benchmark(tmp_path)
