"""The commands from the first file to the last table, as a user gives them; the scripted model answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from handful import __version__
from handful.cli.options import limit_test
from handful.records import Example
from handful.run import fingerprint
from handful.task import load_task
from tests.commands import EXAMPLES, PROJECT, handful, start, write_task

SCRIPTED = ("--model", "scripted", "--run", "run")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path)


def test_help_comes_at_once_and_without_anything_heavy() -> None:
    code = (
        "import sys\n"
        "from handful.cli.app import execute\n"
        "assert execute(['--help']) == 0 and execute(['predict', '--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'datasketch', 'matplotlib', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT, stdout=subprocess.DEVNULL)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        process = start("--help", cwd=PROJECT)
        out, _ = process.communicate()
        seconds.append(time.perf_counter() - started)
        assert b"predict" in out
    assert min(seconds) < 0.5


def test_version() -> None:
    assert handful("--version").out == f"handful {__version__}\n"


def test_from_a_file_of_examples_to_predictions() -> None:
    Path("mine.csv").write_text(
        "Body,Class\n" + "".join(f"{text},{label}\n" for label, texts in EXAMPLES.items() for text in texts)
    )
    result = handful("init", "mine.csv", "-o", "mine.yaml", "--text-column", "Body", "--label-column", "Class")
    assert result.code == 0, result.err
    assert result.out.startswith("mine.yaml: 2 labels, 8 examples\nNext:\n")
    assert "handful run mine.yaml" in result.out
    task = load_task("mine.yaml")
    assert (task.name, task.label_names, len(task.examples)) == ("mine", ("alpha", "beta"), 8)

    checked = handful("check", "mine.yaml")
    assert checked.code == 0, checked.err
    assert "write    192 texts from 6 prompts in round 1" in checked.out
    assert "estimates" in checked.out

    done = handful("run", "mine.yaml", "--model", "scripted")
    assert done.code == 0, done.err
    assert "Nothing was measured: the task has no test texts." in done.out
    assert "handful predict runs/mine-default-seed0 texts.csv --text-column Body -o predictions.csv" in done.out

    predicted = handful("predict", "runs/mine-default-seed0", "mine.csv", "--text-column", "Body", "-o", "p.csv")
    assert predicted.code == 0, predicted.err
    assert Path("p.csv").read_text().splitlines()[0] == "id,label,probability,p:alpha,p:beta,cut"
    assert len(Path("p.csv").read_text().splitlines()) == 9


def test_init_replaces_only_when_told() -> None:
    assert handful("init", "examples.jsonl", "--force", "--name", "yes: 1").code == 0
    assert load_task("task.yaml").name == "yes: 1"


def test_init_names_the_examples_as_they_were_given() -> None:
    Path("versions").mkdir()
    Path("examples.jsonl").rename("versions/data.v1")
    Path("linked.jsonl").symlink_to("versions/data.v1")
    Path("tasks").mkdir()
    for examples, output, named in (
        ("linked.jsonl", "linked.yaml", "linked.jsonl"),
        ("linked.jsonl", "tasks/linked.yaml", "../linked.jsonl"),
    ):
        assert handful("init", examples, "-o", output).code == 0
        assert yaml.safe_load(Path(output).read_text())["examples"] == named
        checked = handful("check", output)
        assert checked.code == 0, checked.err


def test_test_texts_can_come_later_and_change() -> None:
    plain = Path("task.yaml").read_text()
    untested = "".join(line for line in plain.splitlines(keepends=True) if not line.startswith("test:"))
    Path("task.yaml").write_text(untested)
    assert handful("run", "task.yaml", *SCRIPTED).code == 0
    made = {path: path.read_bytes() for path in sorted(Path("run/adapter").iterdir())}
    assert not json.loads(handful("status", "run", "--json").out)["done"]["evaluate"]

    Path("task.yaml").write_text(plain)
    result = handful("run", "task.yaml", *SCRIPTED)
    assert result.code == 0, result.err
    assert "write, round 1: 192 candidates written" in result.err
    assert result.err.count("read from disk") > 1
    assert {path: path.read_bytes() for path in sorted(Path("run/adapter").iterdir())} == made
    n_test = json.loads(Path("run/results.json").read_text())["n_test"]
    assert handful("run", "task.yaml", *SCRIPTED, "--test-limit", str(n_test - 1)).code == 0
    assert json.loads(Path("run/results.json").read_text())["n_test"] == n_test - 1
    assert json.loads(handful("status", "run", "--json").out)["done"]["evaluate"]

    Path("task.yaml").write_text(untested)
    assert "Nothing was measured" in handful("run", "task.yaml", *SCRIPTED).out
    assert not json.loads(handful("status", "run", "--json").out)["done"]["evaluate"]
    assert "no test texts" in Path("run/report.html").read_text()


def test_run_ends_with_a_table_and_keeps_its_times() -> None:
    result = handful("run", "task.yaml", *SCRIPTED)
    assert result.code == 0, result.err
    for column in ("method", "accuracy", "95 % interval", "macro-F1", "generated pool", "ms per text", "prompt tokens"):
        assert column in result.out
    for method in ("0-shot", "ICL-4", "LoRA-4", "ours (4 + 72)"):
        assert method in result.out
    assert "Classifier: run/adapter" in result.out
    assert result.out.endswith("Report:     run/report.html\n")
    assert "write, round 1: " in result.err
    timings = json.loads(Path("run/timings.json").read_text())
    assert timings["stages"]["train"]["units"] > 0
    assert timings["seconds"] == pytest.approx(sum(stage["seconds"] for stage in timings["stages"].values()), abs=0.01)
    # What is read from disk takes no time and must not be counted as if it had been computed.
    assert handful("run", "task.yaml", *SCRIPTED).code == 0
    assert json.loads(Path("run/timings.json").read_text()) == timings


@pytest.mark.parametrize(
    ("name", "seed", "directory"),
    [
        ("a: b/c", "0", "a-b-c-default-seed0"),
        ("n" * 150, "7", f"{'n' * 150}-default-seed7"),
        ("字" * 80 + "a", "0", f"{'字' * 80}a-default-seed0"),
        ("字" * 80 + "ab", "0", f"{'字' * 79}-{fingerprint('字' * 80 + 'ab-default-seed0')}"),
        ("字" * 150, "1", f"{'字' * 79}-{fingerprint('字' * 150 + '-default-seed1')}"),
    ],
)
def test_every_task_has_a_run_directory(name: str, seed: str, directory: str) -> None:
    Path("task.yaml").write_text(Path("task.yaml").read_text().replace("name: colours", f"name: {json.dumps(name)}"))
    result = handful("filter", "task.yaml", "--model", "scripted", "--seed", seed)
    assert result.code == 0, result.err
    assert [path.name for path in Path("runs").iterdir()] == [directory]


def test_stages_one_by_one_give_what_run_gives() -> None:
    assert handful("run", "task.yaml", "--model", "scripted", "-o", "whole").code == 0
    there = {"generate": "candidates.jsonl", "filter": "training.jsonl", "train": "adapter", "evaluate": "results.json"}
    for index, (stage, output) in enumerate(there.items()):
        assert stage == "filter" or not Path("run", output).exists()  # to write so much, one has to filter
        result = handful(stage, "task.yaml", *SCRIPTED)
        assert result.code == 0, result.err
        assert Path("run", output).exists()
        status = json.loads(handful("status", "run", "--json").out)
        if stage != "generate":  # which has all that filter has
            assert [name for name, done in status["done"].items() if done] == list(there)[: index + 1]
    for name in ("candidates.jsonl", "verdicts.jsonl", "training.jsonl", "adapter/SHA256SUMS"):
        assert Path("run", name).read_bytes() == Path("whole", name).read_bytes()


def test_json_is_all_there_is_on_stdout() -> None:
    result = handful("run", "task.yaml", *SCRIPTED, "--json")
    assert (result.code, result.err) == (0, "")
    events = result.events()
    assert {event["event"] for event in events} <= {"stage_start", "stage_end", "warning", "result"}
    assert events[0] == {"event": "stage_start", "stage": "write, round 1", "total": 192, "unit": "texts"}
    final = events[-1]
    assert final["event"] == "result"
    assert final["adapter"] == "run/adapter"
    assert final["report"] == "run/report.html"
    assert [row["method"] for row in final["results"]["methods"]] == [
        "zero_shot",
        "in_context",
        "lora_real",
        "lora_synthetic",
    ]
    again = handful("run", "task.yaml", *SCRIPTED, "--json").events()
    assert all(event["computed"] == 0 for event in again if event["event"] == "stage_end")


def test_starved_labels_are_named() -> None:
    result = handful("run", "task.yaml", *SCRIPTED, "--set", "generate.max_candidates_per_label=8")
    assert result.code == 0, result.err
    assert "Labels with too few generated examples: alpha, beta" in result.out
    assert "handful: warning: label 'alpha' has " in result.err


def test_status_while_a_run_is_going() -> None:
    from handful.run import read_manifest
    from handful.storage import files

    assert handful("filter", "task.yaml", *SCRIPTED).code == 0
    with files.locked(Path("run/.handful.lock"), Path("run")):
        result = handful("status", "run")
        assert result.code == 0, result.err
        assert "at work: process" in result.out
        assert "train     not done" in result.out
    labels = json.loads(handful("status", "run", "--json").out)["labels"]
    written = [json.loads(line) for line in Path("run/candidates.jsonl").read_text().splitlines()]
    assert labels["alpha"]["written"] == sum(row["intended_label"] == "alpha" for row in written)
    assert "at work" not in handful("status", "run").out
    assert read_manifest(Path("run"))["environment"]["versions"]["python"] == sys.version.split()[0]


def test_a_run_that_only_wrote_says_so() -> None:
    assert handful("generate", "task.yaml", *SCRIPTED).code == 0
    assert "generate  done" in handful("status", "run").out


def test_force_keeps_the_old_run() -> None:
    assert handful("filter", "task.yaml", *SCRIPTED).code == 0
    before = Path("run/candidates.jsonl").read_bytes()
    assert handful("filter", "task.yaml", *SCRIPTED, "--seed", "1", "--force").code == 0
    assert Path("run/old-1/candidates.jsonl").read_bytes() == before
    assert Path("run/candidates.jsonl").read_bytes() != before


def test_a_paper_set_draws_four_and_limits_its_test(tmp_path: Path) -> None:
    folder = tmp_path / "sets" / "sst2"
    folder.mkdir(parents=True)
    rows = [
        f"{word} film number {n},{label}"
        for n in range(30)
        for word, label in (("good", "positive"), ("bad", "negative"))
    ]
    (folder / "train.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (folder / "test.csv").write_text("text,label\n" + "\n".join(row.replace("film", "movie") for row in rows) + "\n")
    result = handful("run", "sst2", "--data", "sets", *SCRIPTED, "--test-limit", "10", "--seed", "5", "--json")
    assert result.code == 0, result.err
    final = result.events()[-1]
    assert final["results"]["n_test"] == 10
    assert final["results"]["methods"][1]["title"] == "ICL-4"


def test_the_test_sample_depends_on_the_number_alone() -> None:
    task = load_task("task.yaml")
    assert task.test is not None
    small = limit_test(task, 3).test
    assert small is not None
    assert len(small) == 3
    assert small == limit_test(task, 3).test
    assert [task.test.index(row) for row in small] == sorted(task.test.index(row) for row in small)
    assert limit_test(task, 100) is task


def test_warnings_are_of_the_texts_that_are_tested() -> None:
    leaked = Example("the quick red fox runs", "alpha")
    others = [Example(f"another red text {number}", "alpha") for number in range(40)]
    task = replace(load_task("task.yaml"), warnings=("something else",))
    task = task.tested_on([*others, leaked])
    assert task.warnings == (
        "something else",
        "1 test text is also an example, first test[40]: 'the quick red fox runs'",
    )
    seen = {limit_test(task, number).warnings for number in range(1, 41)}
    assert ("something else",) in seen
    for number in range(1, 41):
        small = limit_test(task, number)
        assert len(small.warnings) == 1 + (leaked in (small.test or ()))


def test_one_example_per_label_is_enough_for_a_judge_in_context() -> None:
    result = handful("run", "task.yaml", *SCRIPTED, "--shots-per-label", "1", "--set", "filter.judge=in_context")
    assert result.code == 0, result.err


def test_labels_that_would_get_too_many_texts_together_get_fewer() -> None:
    few = ["--set", "generate.synthetic_in_all=21"]
    checked = handful("check", "task.yaml", *few).out
    assert "  N        10 for each label, not 72: 21 in all\n" in checked
    assert "write    28 texts from 2 prompts" in checked  # a third more than ten
    usual = handful("check", "task.yaml").out
    assert "for each label, not" not in usual
    Path("long").mkdir()
    write_task(Path("long"), examples={"pos": ["good " * 40, "fine " * 40], "neg": ["bad " * 40, "poor " * 40]})
    long = handful("check", "long/task.yaml").out
    assert "  N        36 for each label, not 72: texts are long\n" in long
    assert " min or more and " in usual
    many = handful("check", "task.yaml", "--set", "filter.judges=100", "--set", "filter.judge_epochs=1000").out
    assert " h or more and " in many
    result = handful("run", "task.yaml", *SCRIPTED, *few)
    assert result.code == 0, result.err
    assert "ours (4 + 10)" in result.out
    manifest = json.loads(Path("run/manifest.json").read_text())
    assert manifest["identity"]["recipe"]["generate"]["synthetic_per_label"] == 10
    # What is done is what counts, however it was asked for.
    assert handful("run", "task.yaml", *SCRIPTED, "--set", "generate.synthetic_per_label=10").code == 0


def test_the_examples_alone_can_be_learnt() -> None:
    alone = ["--set", "generate.synthetic_per_label=0"]
    checked = handful("check", "task.yaml", *alone)
    assert "  write    nothing: your examples alone are learnt\n" in checked.out
    assert "on up to 8 examples" in checked.out
    result = handful("run", "task.yaml", *SCRIPTED, *alone)
    assert result.code == 0, result.err
    assert "judge" not in result.out + result.err
    assert [line for line in result.out.splitlines() if "LoRA-4" in line or "ours" in line] != []
    rows = json.loads(Path("run/results.json").read_text())["methods"]
    assert [row["title"] for row in rows] == ["0-shot", "ICL-4", "LoRA-4"]
    training = [json.loads(line) for line in Path("run/training.jsonl").read_text().splitlines()]
    assert {row["source"] for row in training} == {"real"}
    assert len(training) == 8
    page = Path("run/report.html").read_text()
    assert "LoRA-4" in page
    assert "the examples alone are learnt" in page
    assert "What was written" not in page
    for command in (["status", "run"], ["report", "run"], ["predict", "run", "examples.jsonl"], ["audit", "run"]):
        done = handful(*command)
        assert done.code == 0, done.err
    again = handful("run", "task.yaml", *SCRIPTED, *alone)
    assert again.code == 0, again.err


def test_one_example_of_a_label_can_be_learnt_alone() -> None:
    result = handful("run", "task.yaml", *SCRIPTED, "--shots-per-label", "1", "--set", "generate.synthetic_per_label=0")
    assert result.code == 0, result.err


def test_check_needs_no_model_and_writes_nothing() -> None:
    before = sorted(Path().rglob("*"))
    assert handful("check", "task.yaml", "--recipe", "paper").code == 0
    assert sorted(Path().rglob("*")) == before


def test_doctor() -> None:
    facts = json.loads(handful("doctor", "--json").out)
    assert facts["machine"]["device"] in {"cpu", "cuda", "cuda:0", "mps"}
    assert facts["versions"]["handful"] == __version__
    assert "max labels" in facts["limits"]
    assert "versions" in handful("doctor").out


def test_verbose_logs_on_stderr_only() -> None:
    quiet = handful("generate", "task.yaml", *SCRIPTED)
    step = next(Path("run/steps").glob("candidates-0-*"))
    step.write_text("damage\n")
    loud = handful("-v", "generate", "task.yaml", *SCRIPTED)
    assert "damaged" in loud.err
    assert loud.out == quiet.out


def test_examples_of_the_project_are_fine() -> None:
    tasks = sorted((PROJECT / "examples").glob("*/task.yaml"))
    assert len(tasks) >= 3
    for task in tasks:
        assert yaml.safe_load(task.read_text())["name"]
        assert handful("check", task).code == 0


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handful.cli.watching.draws_on_terminal", lambda: True)
    result = handful("run", "task.yaml", *SCRIPTED)
    assert result.code == 0, result.err
    assert "train: " in result.err


def test_report_is_made_again() -> None:
    assert handful("run", "task.yaml", *SCRIPTED).code == 0
    page = Path("run/report.html").read_bytes()
    assert b"<title>colours: handful, recipe default, seed 0</title>" in page
    Path("run/report.html").unlink()
    result = handful("report", "run")
    assert (result.code, result.out) == (0, "Report: run/report.html\n")
    assert Path("run/report.html").read_bytes() == page


def test_a_run_has_its_report_when_it_is_through() -> None:
    assert handful("train", "task.yaml", *SCRIPTED).code == 0
    assert not Path("run/report.html").exists()
    assert handful("report", "run").code == 0
    assert "Not measured yet" in Path("run/report.html").read_text()
    write_task(Path(), test=False)
    assert handful("train", "task.yaml", "--model", "scripted", "--run", "bare").code == 0
    assert "Nothing was measured" in Path("bare/report.html").read_text()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("verdicts.jsonl", '{"candidate_id": "0-0-0"}', "run/verdicts.jsonl: a row cannot be understood as Verdict: "),
        (
            "results.json",
            '{"n_test": 3, "methods": [{"method": "ours"}]}',
            "run: the files of this run cannot be understood: ",
        ),
        (
            "results.json",
            '{"n_test": 3, "methods": [{"method": "ours", "shift": null}]}',
            "run: the files of this run cannot be made into a page: ",
        ),
    ],
)
def test_a_report_of_files_that_cannot_be_understood(name: str, content: str, message: str) -> None:
    assert handful("run", "task.yaml", *SCRIPTED).code == 0
    Path("run", name).write_text(content)
    result = handful("report", "run")
    assert result.code == 2
    assert result.err.startswith(f"handful: {message}")


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("check task.yaml >&-", 0, ""),
        ("check none.yaml 2>&-", 2, ""),
        ("init examples.jsonl -o new.yaml > /dev/full", 2, "No space left on device"),
        ("predict . - <&-", 2, "-: there is no standard input: it is closed. Name a file."),
    ],
)
def test_streams_that_are_closed_or_full(command: str, code: int, message: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m handful {command}"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr, "fault of handful" in done.stderr) == (code, False, False)
    assert message in done.stderr


def test_report_of_what_is_no_run() -> None:
    result = handful("report", "nowhere")
    assert (result.code, result.out) == (2, "")
    assert "there is no such directory. Give the directory of a run" in result.err


def test_a_report_that_fails_does_not_take_the_table_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(data: object) -> None:
        raise ValueError("no pixels left")

    monkeypatch.setattr("handful.report.run_report.run_page", fails)
    result = handful("run", "task.yaml", *SCRIPTED)
    assert result.code == 0
    assert "the report was not written: no pixels left. `handful report run` tries again." in result.err
    assert "Classifier: run/adapter" in result.out
    assert "Report:" not in result.out
