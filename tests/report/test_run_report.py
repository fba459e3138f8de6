from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from handful.records import Candidate
from handful.report.page import Fold, Paragraph, Sentences, Table
from handful.report.render import render_page
from handful.report.run_data import read_run
from handful.report.run_report import cost_section, limits_section, run_page, settings_section, write_report
from handful.run import open_run, read_manifest
from tests.payloads import payloads
from tests.report.samples import films, run_data
from tests.report.test_render import ALLOWED, Elements
from tests.report.test_run_data import finished

ALWAYS = {
    "What was written, and what was kept",
    "Labels the filter takes for one another",
    "What this does not say",
    "What was run",
}
MEASURED = {"Methods compared", "Mistakes"}


def titles(html: str) -> set[str]:
    return {part.partition("</h2>")[0] for part in html.split("<h2>")[1:]}


def test_report_of_a_scripted_run(tmp_path: Path) -> None:
    directory = finished(tmp_path)
    with open_run(directory, read_manifest(directory)) as run:
        path = write_report(run)
        first = path.read_bytes()
        assert write_report(run).read_bytes() == first
    assert path == directory / "report.html"
    html = first.decode()
    assert titles(html) >= ALWAYS | MEASURED
    assert "<title>films: handful, recipe default, seed 5</title>" in html
    results = json.loads((directory / "results.json").read_text())
    for row in results["methods"]:
        assert row["title"] in html
    assert "on these 3 test texts" in html or "on 3 test texts" in html
    assert set(Elements(first).tags) <= ALLOWED


def test_report_without_test_texts(tmp_path: Path) -> None:
    directory = finished(tmp_path, test=False)
    with open_run(directory, read_manifest(directory)) as run:
        html = write_report(run).read_text()
    assert titles(html) >= ALWAYS
    assert not MEASURED & titles(html)
    assert "Nothing was measured: the task has no test texts" in html


@pytest.mark.parametrize("until", ["generate", "filter"])
def test_report_of_a_run_that_is_not_through(tmp_path: Path, until: str) -> None:
    directory = finished(tmp_path, until=until)  # type: ignore[arg-type]
    with open_run(directory, read_manifest(directory)) as run:
        html = write_report(run).read_text()
    assert "Not measured yet" in html


def test_hostile_runs_stay_text() -> None:
    texts = payloads()
    task = films((texts[0], texts[1]), name=texts[2])
    data = run_data(task)
    data = dataclasses.replace(
        data,
        model=texts[3],
        candidates=[dataclasses.replace(c, text=texts[10 + i]) for i, c in enumerate(data.candidates)],
        verdicts=[dataclasses.replace(v, reason=texts[40]) if v.reason == "duplicate" else v for v in data.verdicts],
        timings={"stages": {texts[50]: {"seconds": 1.0, "units": 1, "unit": texts[51]}}},
        task=dataclasses.replace(task, instruction=texts[60], warnings=(texts[61],)),
    )
    html = render_page(run_page(data))
    assert set(Elements(html).tags) <= ALLOWED
    assert b"<script" not in html
    assert render_page(run_page(data)) == html


def test_the_order_is_verdict_measures_texts_limits() -> None:
    page = run_page(run_data())
    names = [section.title for section in page.sections]
    assert names[0] == "Methods compared"
    assert names[-2:] == ["What this does not say", "What was run"]
    assert names.index("Mistakes") < names.index("What was written, and what was kept")
    assert page.title == "films: handful, recipe default, seed 3"


def test_the_cost_in_tokens() -> None:
    data = run_data()
    section = cost_section(dataclasses.replace(data, candidates=[replace_tokens(c, 7) for c in data.candidates]))
    assert section is not None
    assert f"For ours the model wrote {7 * len(data.candidates)} tokens, 7 a text." in section.intro
    assert "To answer a text, ours reads 40 tokens." in section.intro
    empty = [replace_tokens(data.candidates[0], 0), *(replace_tokens(c, 7) for c in data.candidates[1:])]
    with_empty = cost_section(dataclasses.replace(data, candidates=empty))
    assert with_empty is not None
    assert f"wrote {7 * (len(empty) - 1)} tokens" in with_empty.intro  # a text of no tokens was counted, too
    of_some = [replace_tokens(c, 7 if index else None) for index, c in enumerate(data.candidates)]
    unknown = cost_section(dataclasses.replace(data, results=None, candidates=of_some))
    assert unknown is not None
    assert "tokens" not in unknown.intro


def replace_tokens(candidate: Candidate, n_tokens: int | None) -> Candidate:
    return dataclasses.replace(candidate, n_tokens=n_tokens)


def test_cost() -> None:
    section = cost_section(run_data())
    assert section is not None
    made = section.blocks[0]
    assert isinstance(made, Table)
    assert made.rows == (("train", "20.0", "60 steps", "3.0"),)
    assert cost_section(dataclasses.replace(run_data(), timings=None)) is None


def test_limits_depend_on_what_was_measured() -> None:
    measured, bare = (limits_section(run_data(measured=m)).blocks[0] for m in (True, False))
    assert isinstance(measured, Sentences)
    assert isinstance(bare, Sentences)
    assert measured.items[0].startswith("This is one draw of 2 examples a label and one seed.")
    assert "one test set of 20 texts" in measured.items[1]
    assert "agrees with itself" in bare.items[1]


def test_settings() -> None:
    data = run_data()
    section = settings_section(dataclasses.replace(data, task=dataclasses.replace(data.task, warnings=("a leak",))))
    assert section.blocks[0] == Paragraph("Instruction: “Say whether the writer liked it.”")
    fold = section.blocks[3]
    assert isinstance(fold, Fold)
    assert isinstance(fold.blocks[0], Table)
    assert ("train.lora_rank", "8") in fold.blocks[0].rows
    assert section.blocks[-1] == Paragraph("a leak", warning=True)


def test_what_a_run_was_computed_in_is_read_and_said(tmp_path: Path) -> None:
    directory = finished(tmp_path)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["identity"]["precision"] = "bfloat16"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    assert "Computed with precision bfloat16." in render_page(run_page(read_run(directory))).decode()
