"""`handful audit`: on a run, on a run without a classifier, on a task, and with lists of terms of every kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from handful.storage import files
from tests.commands import handful, write_task

EXAMPLES = {
    "praise": ["she sang it well", "her song was lovely", "she was funny and warm", "her voice is lovely and warm"],
    "blame": ["he sang it badly", "his song was dull", "he was cold and boring", "his voice is dull and cold"],
}
OWN = "mood:\n  groups: {high: [], low: []}\n  counterparts: [[warm, cold], [lovely, dull]]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task and a run of it, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    task = write_task(folder, examples=EXAMPLES, test=False)
    done = handful("run", task, "--model", "scripted", "--run", folder / "run")
    assert done.code == 0, done.err
    return folder


@pytest.fixture(autouse=True)
def _folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    Path("own.yaml").write_text(OWN)


def test_the_report_as_json_and_in_the_run() -> None:
    result = handful("audit", "run", "--json")
    assert result.code == 0, result.err
    (report,) = result.events()
    assert report == json.loads(Path("run/audit.json").read_text())
    assert report["task"] == "colours"
    assert report["real"]["n_texts"] == 8
    kept = [json.loads(line) for line in Path("run/training.jsonl").read_text().splitlines()]
    assert report["synthetic"]["n_texts"] == sum(row["source"] == "synthetic" for row in kept)
    assert report["real"]["mentions"]["gender"] == {"female": 4, "male": 4}
    assert report["real"]["comparisons"] == len(report["real"]["associations"]) == 4
    assert report["real"]["associations"][0]["with_label"] == 4
    total = report["swaps"]["rates"][0]
    assert (total["axis"], total["from_group"]) == ("gender", None)
    pairs = [rate for rate in report["swaps"]["rates"] if rate["axis"] == "gender" and rate["from_group"]]
    assert total["swaps"] == sum(rate["swaps"] for rate in pairs) >= 8
    assert total["flips"] == sum(rate["flips"] for rate in pairs)
    assert "certifies nothing" in report["note"]
    assert handful("audit", "run", "--json").out == result.out


def test_the_report_for_people() -> None:
    result = handful("audit", "run")
    assert result.code == 0, result.err
    for part in (
        "colours: 8 real and ",
        "real, equal length",
        "gender: female",
        "Labels and groups in the real texts: 4 comparisons, of which chance alone makes about 0.2 stand out; ",
        "gender, all",
        "it certifies nothing",
        "Everything: run/audit.json",
    ):
        assert part in result.out
    assert "swap: " in result.err


def test_a_run_without_a_classifier_has_no_swaps() -> None:
    done = handful("filter", "task.yaml", "--model", "scripted", "--run", "young")
    assert done.code == 0, done.err
    result = handful("audit", "young")
    assert result.code == 0, result.err
    assert "No swaps: this run has no classifier yet." in result.out
    assert "Labels and groups in the synthetic texts" in result.out
    assert json.loads(Path("young/audit.json").read_text())["swaps"] is None


def test_a_task_is_audited_alone() -> None:
    before = sorted(Path().rglob("*"))
    result = handful("audit", "task.yaml")
    assert result.code == 0, result.err
    assert "colours: 8 real texts" in result.out
    assert "No swaps: a task file has no classifier to ask." in result.out
    assert "synthetic" not in result.out
    assert sorted(Path().rglob("*")) == before


def test_own_terms_join_or_replace_the_shipped_ones() -> None:
    (both,) = handful("audit", "run", "--terms", "own.yaml", "--json").events()
    assert {"gender", "mood"} <= set(both["real"]["mentions"])
    (own,) = handful("audit", "run", "--terms", "own.yaml", "--only-own-terms", "--json").events()
    assert own["real"]["mentions"] == {"mood": {"high": 3, "low": 3}}
    assert {rate["axis"] for rate in own["swaps"]["rates"]} == {"mood"}


def test_further_texts_are_swapped_and_the_number_is_limited() -> None:
    Path("more.csv").write_text("body\n" + "".join(f"she sang song {n}\n" for n in range(50)))
    more = ("--texts", "more.csv", "--text-column", "body", "--json")
    (report,) = handful("audit", "run", *more).events()
    (without,) = handful("audit", "run", "--json").events()
    assert report["swaps"]["texts"] == 50  # not those it was tuned on, which flip less
    assert (report["real"], report["synthetic"]) == (without["real"], without["synthetic"])
    (few,) = handful("audit", "run", *more, "--most-swaps", "7").events()
    assert few["swaps"]["rates"][0]["swaps"] == 7
    assert few["swaps_left_out"] > 40
    assert "more were not drawn: --most-swaps" in handful("audit", "run", "--most-swaps", "7").out


def test_groups_are_swapped_in_the_test_texts_where_there_are_any() -> None:
    task = json.loads(Path("run/task.json").read_text())
    task["test"] = [{"text": f"she painted house {n}", "label": "praise"} for n in range(12)]
    Path("run/task.json").write_text(json.dumps(task))
    (report,) = handful("audit", "run", "--json").events()
    assert report["swaps"]["texts"] == report["test"]["n_texts"] == 12
    assert report["swapped_in"] == "test texts"
    assert "and 12 test texts" in handful("audit", "run").out
    assert "12 test texts classified as they are" in handful("audit", "run").out
    task["test"] = [{"text": "she painted a house", "label": "praise"}]
    Path("run/task.json").write_text(json.dumps(task))
    (report,) = handful("audit", "run", "--json").events()
    assert report["swapped_in"] == "texts it was tuned on"
    assert report["swaps"]["texts"] > 1


def test_the_test_texts_of_a_task_are_audited(tmp_path: Path) -> None:
    (tmp_path / "tested").mkdir()
    task = write_task(tmp_path / "tested", examples=EXAMPLES, test=True)
    result = handful("audit", task, "--json")
    assert result.code == 0, result.err
    (report,) = result.events()
    assert report["test"]["n_texts"] > 0
    assert f"8 real and {report['test']['n_texts']} test texts" in handful("audit", task).out


def test_the_clearest_association_comes_first() -> None:
    task = json.loads(Path("run/task.json").read_text())
    weak = [("a young cat", "praise")] * 14 + [("a young cat", "blame")] * 6 + [("an elderly cat", "blame")] * 12
    strong = [("she came", "praise")] * 40 + [("he came", "blame")] * 40
    task["test"] = [{"text": text, "label": label} for text, label in (*weak, *strong)]
    Path("run/task.json").write_text(json.dumps(task))
    out = handful("audit", "run", "--most-swaps", "1").out.partition("Labels and groups in the test texts")[2]
    assert 0 < out.index("gender: female") < out.index("age: young")
    assert "< 0.001" in out
    assert "0.000" not in out.partition("classified as they are")[0]


def test_no_text_to_swap() -> None:
    Path("none.yaml").write_text("x: {groups: {a: [zebra], b: [quagga]}}\n")
    result = handful("audit", "run", "--terms", "none.yaml", "--only-own-terms")
    assert result.code == 0, result.err
    assert "No text mentions a group of the lists." in result.out
    assert "Labels and groups in the real texts: nothing to compare." in result.out
    assert "No swaps: no text has a term with a counterpart in another group." in result.out


def test_a_run_at_work_is_reported_and_not_written_to() -> None:
    with files.locked(Path("run/.handful.lock"), Path("run")):
        result = handful("audit", "run", "--json")
    assert result.code == 0, result.err
    assert len(result.events()) == 1
    assert "handful: warning: audit.json is not written: run: in use by process" in result.err
    assert not Path("run/audit.json").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("nowhere",), "nowhere: there is no such file"),
        (("empty",), "empty: not a run directory: no manifest.json. Give the directory of a run"),
        (("run", "--only-own-terms"), "--only-own-terms: there is no list of terms. Name your own with --terms FILE."),
        (("run", "--terms", "none.yaml"), "none.yaml: there is no such file"),
        (("run", "--terms", "binary.yaml"), "binary.yaml:1: there is a NUL byte"),
        (("run", "--terms", "bomb.yaml"), "bomb.yaml:1: this is not valid YAML: anchors and aliases"),
        (("run", "--terms", "huge.yaml"), "huge.yaml: the file is larger than 1,000,000 bytes. docs/audit.md says"),
        (("run", "--terms", "group.yaml"), "group.yaml:2: the group 'b' has no terms."),
        (("run", "--terms", "task.yaml"), "task.yaml:1: the axis 'name' has to be a mapping"),
        (("run", "--texts", "own.csv"), "own.csv: there is no such file"),
        (("run", "--texts", "examples.jsonl", "--text-column", "body"), "examples.jsonl:1: there is no column 'body'"),
        (("run", "--texts", "header.csv"), "header.csv: there is no text in it. Leave out --texts"),
        (("run", "--most-swaps", "0"), "Invalid value for '--most-swaps'"),
    ],
)
def test_what_cannot_be_used_is_named(argv: tuple[str, ...], message: str) -> None:
    Path("empty").mkdir()
    Path("header.csv").write_text("text\n")
    Path("binary.yaml").write_bytes(b"a: \0\n")
    Path("bomb.yaml").write_text("a: &a [x, x]\nb: [*a, *a]\n")
    Path("huge.yaml").write_text("a: [" + "x, " * 400_000 + "x]\n")
    Path("group.yaml").write_text("mood:\n  groups: {a: [x], b: []}\n")
    result = handful("audit", *argv)
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert message in result.err
    assert not Path("run/audit.json").exists()


def test_a_damaged_classifier_is_not_asked() -> None:
    next(Path("run/adapter").glob("*.json")).write_text("{}")
    result = handful("audit", "run")
    assert result.code == 2
    assert result.err.startswith("handful: run/adapter: ")
