"""What users get wrong, one by one: each ends with exit code 2 and one message that says where and how to mend it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from handful.storage import files
from handful.storage.jsonl import encode_lines
from handful.storage.sealed import read_step, write_step
from tests.commands import handful, start, write_task

TASK = "name: t\nlabels: [alpha, beta]\nexamples: examples.csv\n"
ROWS = "text,label\nred fox,alpha\nred coat,alpha\nblue sea,beta\nblue sky,beta\n"
RUN = ("run", "task.yaml", "--model", "scripted", "--run", "run")
KEYS = (
    "'name', 'instruction', 'text_name', 'labels', 'examples', 'test', 'unlabeled', 'attributes', 'text_column', "
    "'label_column'"
)
CSV_QUOTES = 'Close the quote, and write a quote within a quoted text twice: "".'
YAML_QUOTING = (
    "Check the indentation, and quote values that hold ': ' or ' #' or start with one of [ { & * ! | > % @ `."
)
MODELS = (
    "Give 'smollm2-135m' (needs no network), a local directory with safetensors, a .gguf file, or a hub id; "
    "without network fetch it first elsewhere with `hf download`."
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HANDFUL_DATA", raising=False)
    Path("task.yaml").write_text(TASK)
    Path("examples.csv").write_text(ROWS)


def fails(*argv: object, stdin: bytes = b"") -> str:
    """Run a command that must fail as a user's error, and return its message."""
    result = handful(*argv, stdin=stdin)
    assert "Traceback" not in result.err
    assert result.code == 2, result.err
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if not line.startswith("predict: ")]
    if lines[0].endswith("the same command goes on behind them."):
        assert "predict" in argv
        del lines[0]
    assert lines[0].startswith("handful: ")
    return "\n".join(lines).removeprefix("handful: ")


def task_with(old: str, new: str) -> Callable[[], None]:
    return lambda: _write("task.yaml", TASK.replace(old, new))


def rows_with(old: str, new: str) -> Callable[[], None]:
    return lambda: _write("examples.csv", ROWS.replace(old, new))


def _write(name: str, content: str | bytes) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def folder_for_task() -> None:
    Path("task.yaml").unlink()
    Path("task.yaml").mkdir()


def content(data: str | bytes, name: str = "examples.csv") -> Callable[[], None]:
    return lambda: _write(name, data)


def jsonl(*lines: str) -> Callable[[], None]:
    def write() -> None:
        _write("task.yaml", TASK.replace("examples.csv", "examples.jsonl"))
        _write("examples.jsonl", "\n".join(lines) + "\n")

    return write


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nlabels: *c\nexamples: e.csv\n"

TASK_FAULTS: dict[str, tuple[Callable[[], None], str]] = {
    "task is a folder": (
        folder_for_task,
        "task.yaml: this is a folder, not a file. Name the file in it.",
    ),
    "unknown key": (
        task_with("labels", "lables"),
        "task.yaml:2: the task has an unknown key 'lables'. Did you mean 'labels'?",
    ),
    "no labels": (
        task_with("labels: [alpha, beta]\n", ""),
        "task.yaml:1: the task has no key 'labels'. Add labels: ...",
    ),
    "no mapping": (
        content("- a\n- b\n", "task.yaml"),
        f"task.yaml:1: the task has to be a mapping with the keys {KEYS}. Write it as name: ...",
    ),
    "broken YAML": (
        task_with("[alpha, beta]", "[alpha, beta"),
        "task.yaml:3: this is not valid YAML: expected ',' or ']', but got ':' (while parsing a flow sequence). "
        + YAML_QUOTING,
    ),
    "empty task file": (
        content("", "task.yaml"),
        "task.yaml: the file is empty. See the documentation for a task file.",
    ),
    "alias bomb": (
        content(BOMB, "task.yaml"),
        f"task.yaml:1: this is not valid YAML: anchors and aliases (& and *) are not supported. {YAML_QUOTING}",
    ),
    "NUL in the task": (
        content(TASK.encode() + b"\0", "task.yaml"),
        "task.yaml:4: there is a NUL byte at byte offset 53. "
        "Save the file as plain text in UTF-8 (NUL bytes come from UTF-16 or from a damaged file).",
    ),
    "huge task": (
        content(TASK + "#" * 1_000_000, "task.yaml"),
        "task.yaml: the file is larger than 1,000,000 bytes. "
        "Move the examples to a CSV file and name it under examples.",
    ),
    "empty label": (
        task_with("[alpha, beta]", "[alpha, '']"),
        "task.yaml:2: the label is empty. Fill it in, in quotes if need be.",
    ),
    "duplicate label": (
        task_with("[alpha, beta]", "[alpha, beta, alpha]"),
        "task.yaml:2: the label 'alpha' is given twice (first at task.yaml:2). Delete one.",
    ),
    "one label": (
        task_with("[alpha, beta]", "[alpha]"),
        "task.yaml:2: there is one label, 'alpha'. Give at least two labels to choose from.",
    ),
    "label with newline": (
        task_with("[alpha, beta]", '[alpha, "be\\nta"]'),
        "task.yaml:2: the label 'be\\nta' holds the control character U+000A. "
        "Keep it to one line of visible characters.",
    ),
    "same verbalizer": (
        task_with("labels: [alpha, beta]", "labels:\n  alpha: {verbalizer: X}\n  beta: {verbalizer: X}"),
        "task.yaml:4: the labels 'alpha', 'beta' have the same verbalizer 'X' (first at task.yaml:3). "
        "Give each label a verbalizer of its own.",
    ),
    "missing examples": (
        task_with("examples.csv", "exmples.csv"),
        "exmples.csv: there is no such file. Did you mean 'examples.csv' in the same folder?",
    ),
    "wrong columns": (
        rows_with("text,label", "txt,label"),
        "examples.csv:1: there is no column 'text'; the columns are 'txt', 'label'. "
        "Did you mean 'txt'? Rename the column, or say which one to read: "
        "--text-column, or in a task file text_column and label_column.",
    ),
    "no header": (
        rows_with("text,label\n", ""),
        "examples.csv:1: the first line looks like a row, not a header: 'red fox', 'alpha'. "
        "Put a line with the names of the columns first: 'text,label'.",
    ),
    "semicolons": (
        lambda: _write("examples.csv", ROWS.replace(",", ";")),
        "examples.csv:1: the first line has one column, 'text;label', and seems to be separated by ';'. "
        "Separate columns by commas, or name the file for what it is.",
    ),
    "too few examples": (
        rows_with("blue sky,beta\n", ""),
        "task.yaml: each label needs at least 2 examples; there are 'alpha' 2, 'beta' 1. Add examples of 'beta'. "
        "Recipe 'default' shows its judge half of a label's examples at a time; with one example per label, "
        "pass --set filter.judge=in_context.",
    ),
    "same text twice": (
        rows_with("blue sea", "red fox"),
        "examples.csv:4: the text 'red fox' has the label 'beta' here and 'alpha' at examples.csv:2. "
        "Keep the one that is right.",
    ),
    "unknown label": (
        rows_with("sky,beta", "sky,betta"),
        "examples.csv:5: 'betta' is not a label of the task ('alpha', 'beta'). Did you mean 'beta'?",
    ),
    "empty text": (
        rows_with("blue sky,beta", ",beta"),
        "examples.csv:5: the text is empty. Fill it in or delete the row.",
    ),
    "Latin-1": (
        content(ROWS.replace("fox", "föx").encode("latin-1")),
        "examples.csv:2: the byte 0xf6 at byte offset 16 is not UTF-8. Save the file as UTF-8.",
    ),
    "UTF-16": (
        content(ROWS.encode("utf-16")),
        "examples.csv:1: the file is in UTF-16, not UTF-8. Save it as UTF-8.",
    ),
    "NUL": (
        content(ROWS.replace("fox", "f\0x")),
        "examples.csv:2: there is a NUL byte at byte offset 16. "
        "Save the file as plain text in UTF-8 (NUL bytes come from UTF-16 or from a damaged file).",
    ),
    "1 MB text": (
        rows_with("red fox", "x" * 1_000_000),
        "examples.csv:2: the text has 1,000,000 characters, more than 100,000. Shorten it or leave it out.",
    ),
    "empty file": (
        content(""),
        "examples.csv: the file is empty. Give it a header line and one row per text.",
    ),
    "header only": (
        content("text,label\n"),
        "examples.csv: there are no rows. Add one labelled text per line.",
    ),
    "unclosed quote": (
        rows_with("blue sea", '"blue sea'),
        f"examples.csv:4: a quoted text starts in this row and is never closed. {CSV_QUOTES}",
    ),
    "ragged row": (
        rows_with("blue sea", "blue, sea"),
        "examples.csv:4: the row has 3 fields and the header 2. "
        "Put a text that holds a comma or a newline in double quotes.",
    ),
    "JSONL number": (
        jsonl('{"text": "a b", "label": "alpha"}', '{"text": 3.50, "label": "beta"}'),
        "examples.jsonl:2: 'text' is 3.5, not a text. Write it as a text, in quotes: \"3.5\".",
    ),
    "JSONL null": (
        jsonl('{"text": null, "label": "alpha"}'),
        "examples.jsonl:1: 'text' is null. Fill it in or delete the row.",
    ),
    "JSONL broken": (
        jsonl('{"text": "a b", "label": "alpha"}', '{"text": "c'),
        "examples.jsonl:2: the line is not valid JSON: Unterminated string starting at character 10. "
        'Write one JSON object per line, like {"text": "...", "label": "..."}.',
    ),
    "unknown format": (
        task_with("examples.csv", "task.yaml"),
        "task.yaml: files ending in .yaml are not read. "
        "Save it as one of .csv, .tsv, .tab, .jsonl, .ndjson, .json, .parquet (UTF-8).",
    ),
    "YAML escape that is no character": (
        task_with("name: t\n", 'name: "\\UFFFFFFFF"\n'),
        "task.yaml: this is not valid YAML: Python int too large to convert to C int. Check the indentation, and quote "
        "values that hold ': ' or ' #' or start with one of [ { & * ! | > % @ `.",
    ),
    "unlabelled file missing": (
        task_with("name: t\n", "name: t\nunlabeled: more.csv\n"),
        "more.csv: there is no such file. Check the path.",
    ),
}


@pytest.mark.parametrize("fault", TASK_FAULTS)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_task_that_cannot_be_used(fault: str, command: str) -> None:
    prepare, message = TASK_FAULTS[fault]
    prepare()
    argv = RUN if command == "run" else ("check", "task.yaml")
    assert fails(*argv) == message
    assert not Path("run").exists()


OPTION_FAULTS: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown recipe": (
        ("--recipe", "papr"),
        "unknown recipe 'papr'. Did you mean 'paper'? Or give the path of a YAML file.",
    ),
    "recipe file missing": (
        ("--recipe", "my/recipe.yaml"),
        "unknown recipe 'my/recipe.yaml'. Known: default, paper, fast, accurate. Or give the path of a YAML file.",
    ),
    "recipe is a list": (
        ("--recipe", "list.yaml"),
        "list.yaml: a recipe file must be a mapping. Write for example `train: {epochs: 6}`.",
    ),
    "recipe is broken": (
        ("--recipe", "broken.yaml"),
        "broken.yaml: not readable as YAML: while parsing a flow mapping",
    ),
    "recipe base": (
        ("--recipe", "base.yaml"),
        "base.yaml: unknown base recipe 'papper'. Did you mean 'paper'?",
    ),
    "recipe bomb": (("--recipe", "bomb.yaml"), "bomb.yaml: "),
    "unknown key": (("--set", "train.epoch=3"), "default: unknown key 'train.epoch'. Did you mean 'epochs'?"),
    "unknown stage": (
        ("--set", "trian.epochs=3"),
        "default: unknown key 'trian'. Did you mean 'train'?",
    ),
    "out of range": (("--set", "train.epochs=0"), "default: train.epochs must be at least 1, got 0"),
    "not finite": (
        ("--set", "train.learning_rate=.inf"),
        "default: train.learning_rate: Input should be a finite number (got inf)",
    ),
    "wrong type": (
        ("--set", "train.epochs=many"),
        "default: train.epochs: Input should be a valid integer, unable to parse string as an integer (got 'many')",
    ),
    "wrong choice": (
        ("--set", "filter.method=vote"),
        "default: filter.method: Input should be 'agreement', 'random' or 'none' (got 'vote')",
    ),
    "no equals sign": (("--set", "train.epochs"), "--set: 'train.epochs' has no '='. Write stage.key=value."),
    "broken value": (("--set", "train.epochs=["), "--set: 'train.epochs=[' is not YAML behind its '='. Quote it."),
    "key of a value": (
        ("--set", "train=3", "--set", "train.epochs=3"),
        "--set: 'train.epochs=3' sets a key of what has no keys. 'train' was given a value of its own before.",
    ),
    "gguf missing": (("--model", "m.gguf"), "no such file: 'm.gguf'. Check the path of the .gguf file."),
    "gguf is none": (("--model", "fake.gguf"), "cannot load the model"),
    "no safetensors": (
        ("--model", "models"),
        "no .safetensors file in 'models'. Only safetensors and GGUF are read; convert the model first.",
    ),
    "model folder missing": (
        ("--model", "./nothing"),
        "no such directory: './nothing'. Check the path of the model; of the hub give org/name, and 'smollm2-135m' is "
        "the packaged one.",
    ),
    "model is a file": (
        ("--model", "models/config.json"),
        "'models/config.json' is a file. Give a .gguf file, or the directory that the safetensors lie in.",
    ),
    "folder of models": (
        ("--model", "models/secret-project"),
        "no such directory: 'models/secret-project'. Check the path of the model; of the hub give org/name, and "
        "'smollm2-135m' is the packaged one.",
    ),
    "hub without network": (("--model", "someone/some-model"), "cannot load the model 'someone/some-model': "),
    "bad hub id": (("--model", "some/one two"), "cannot load the model 'some/one two': "),
    "misspelt model": (
        ("--model", "smolm2-135m"),
        "no such directory: 'smolm2-135m'. Check the path of the model; of the hub give org/name, and 'smollm2-135m' "
        "is the packaged one.",
    ),
    "device": (
        ("--device", "gpu"),
        "Invalid value for '--device': 'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'\nSee: handful run --help",
    ),
    "no cuda": (
        ("--device", "mps", "--model", "MODEL"),
        "device 'mps' is not available here. Use --device cpu or auto.",
    ),
    "seed": (
        ("--seed", "-1"),
        "Invalid value for '--seed': Input should be greater than or equal to 0\nSee: handful run --help",
    ),
    "option": (("--modle", "x"), "No such option: --modle"),
    "too many shots": (
        ("--shots-per-label", "3"),
        "task.yaml: each label needs at least 3 examples; there are 'alpha' 2, 'beta' 2. "
        "Add examples of 'alpha', 'beta'.",
    ),
}
WHOLE = {"recipe is broken", "recipe bomb", "hub without network", "bad hub id", "gguf is none", "option"}
"""Faults whose message holds the words of another library: here the start is asserted."""


@pytest.mark.parametrize("fault", OPTION_FAULTS)
def test_an_option_that_cannot_be_used(fault: str, tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options, message = OPTION_FAULTS[fault]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _write("list.yaml", "- 1\n")
    _write("broken.yaml", "train: {epochs: 3\n")
    _write("base.yaml", "base: papper\n")
    _write("bomb.yaml", "name: &a [x,x,x,x,x,x,x,x,x]\nprompt: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\ntrain: [*b,*b,*b,*b]\n")
    _write("fake.gguf", b"GGUF" + b"\0" * 100)
    Path("models").mkdir()
    _write("models/config.json", "{}")
    given = [str(tiny_model_dir) if option == "MODEL" else option for option in options]
    error = fails("run", "task.yaml", "--run", "run", *([] if "--model" in given else ["--model", "scripted"]), *given)
    assert error.startswith(message) if fault in WHOLE else error == message
    assert len(error) < 700
    assert not Path("run", "candidates.jsonl").exists()


def test_many_examples_need_a_number_to_draw() -> None:
    _write("examples.csv", ROWS + "".join(f"red number {n},alpha\n" for n in range(70)))
    assert fails(*RUN) == (
        "task.yaml: label 'alpha' has 72 examples; handful is made for a handful (at most 64 per label). "
        "Say how many to draw, for example --shots-per-label 4."
    )


def test_a_rare_label_gives_all_it_has() -> None:
    _write("examples.csv", ROWS + "".join(f"red number {n},alpha\n" for n in range(70)))
    result = handful("run", "task.yaml", "--model", "scripted", "--shots-per-label", "6")
    assert result.code == 0
    assert "there are fewer than 6 examples of some labels, all of them are used: 2 of 'beta'" in result.err


def test_a_paper_set_that_is_not_there() -> None:
    assert fails("run", "trec", "--model", "scripted") == (
        "trec: it is not known where the sets are. "
        "Fetch it with `handful data trec -o sets`; name that folder with --data, or set HANDFUL_DATA to it."
    )
    assert fails("run", "trec", "--data", "sets") == "sets/trec/train.csv: there is no such file. Check the path."
    assert fails("run", "trecc") == "trecc: there is no such file. Did you mean 'trec'?"


def test_evaluating_without_test_texts() -> None:
    message = "task.yaml: there are no test texts to evaluate on. Add `test: test.csv` to the task."
    assert fails("evaluate", "task.yaml", "--model", "scripted") == message


# What goes wrong with a run directory or a classifier that is already there: nothing in it may be lost.


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed; `made` gives a copy."""
    folder = tmp_path_factory.mktemp("finished")
    task = write_task(folder)
    result = handful("run", task, "--model", "scripted", "--run", folder / "run")
    assert result.code == 0, result.err
    return folder


@pytest.fixture
def made(finished: Path) -> Path:
    """A copy of a finished run and its task in the working directory."""
    for path in finished.iterdir():
        if path.is_dir():
            shutil.copytree(path, path.name)
        else:
            shutil.copy(path, path.name)
    return Path("run")


def kept(run: Path) -> dict[str, bytes]:
    names = ["candidates.jsonl", "verdicts.jsonl", "training.jsonl", "results.json"]
    steps = sorted((run / "steps").iterdir())
    return {str(path): path.read_bytes() for path in [*(run / name for name in names), *steps]}


RUN_FAULTS: dict[str, tuple[tuple[str, ...], str]] = {
    "other seed": (("--seed", "3"), "seed: 0 -> 3"),
    "other recipe": (("--set", "train.epochs=3"), "recipe.train.epochs: 8 -> 3"),
    "other preset": (("--recipe", "fast"), 'recipe.name: "default" -> "fast", '),
    "other examples": (("--shots-per-label", "3"), "task: "),
}


@pytest.mark.parametrize("fault", RUN_FAULTS)
def test_a_run_directory_of_another_run(fault: str, made: Path) -> None:
    options, difference = RUN_FAULTS[fault]
    before = kept(made)
    error = fails(*RUN, *options)
    assert error.startswith(f"run: holds a run with other settings ({difference}")
    assert error.endswith(
        "Use another directory, or pass --force to start anew; the old run is then kept below it as old-<n>"
    )
    assert kept(made) == before


def test_a_run_directory_of_another_task(made: Path) -> None:
    before = kept(made)
    Path("task.yaml").write_text(Path("task.yaml").read_text().replace("which colour", "what colour"))
    assert fails(*RUN).startswith("run: holds a run with other settings (task: ")
    assert kept(made) == before


def test_a_run_directory_that_is_none(made: Path) -> None:
    Path("mine").mkdir()
    _write("mine/thesis.txt", "years of work")
    assert fails(*RUN[:-1], "mine") == (
        "mine: not a run directory: it has thesis.txt but no manifest.json. Give a new or empty directory"
    )
    assert [path.name for path in Path("mine").iterdir()] == ["thesis.txt"]
    assert fails("status", "mine") == "mine: not a run directory: no manifest.json. Give the directory of a run"
    assert fails("status", "nowhere") == "nowhere: there is no such directory. Give the directory of a run"


def test_a_run_directory_that_is_a_file(made: Path) -> None:
    assert fails(*RUN[:-1], "task.yaml").startswith("task.yaml: ")


def test_a_damaged_manifest(made: Path) -> None:
    before = kept(made)
    _write("run/manifest.json", "{")
    message = "run/manifest.json: damaged. Give another directory, or make this one anew with --force"
    assert fails(*RUN) == message
    assert fails("status", "run") == message
    assert kept(made) == before


def test_a_run_of_another_version(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text())
    (made / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    for command in (RUN, ("status", "run"), ("report", "run"), ("audit", "run")):
        assert "run: a run of another version of handful (format 2, this one reads 1)" in fails(*command)


@pytest.mark.parametrize("name", ["manifest.json", "timings.json", "results.json", "adapter/SHA256SUMS"])
def test_a_pipe_in_a_run_directory_does_not_hang(made: Path, name: str) -> None:
    (made / name).unlink()
    os.mkfifo(made / name)
    for command in ("status", "report"):
        process = start(command, "run", cwd=Path.cwd())
        _, err = process.communicate(timeout=60)
        assert process.returncode in {0, 2}, err


@pytest.mark.parametrize(
    ("step", "row", "why"),
    [
        ("candidates-0-0", {}, "as Candidate: its keys are others"),
        ("candidates-0-0", {"text": 5}, "as Candidate: text: Input should be a valid string"),
        ("scores-0-0-0", {"log_probs": ["a"]}, "as LabelScores: log_probs.0: Input should be a valid number"),
    ],
)
def test_a_step_that_was_forged_with_its_checksum(made: Path, step: str, row: dict[str, Any], why: str) -> None:
    path = next((made / "steps").glob(f"{step}-*"))
    rows = read_step(path)
    assert rows is not None
    rows[0] = {**rows[0], **row} if row else {}
    write_step(path, encode_lines(rows, step))
    result = handful(*RUN)
    assert result.code == 2
    assert f"\nhandful: a row cannot be understood {why}. Was it written by" in f"\n{result.err}"


def test_a_lock_that_names_no_process(made: Path) -> None:
    holder = {"pid": 10**21, "host": socket.gethostname(), "since": "now"}
    (made / ".handful.lock.json").write_text(json.dumps(holder))
    assert handful("status", "run").code == 0


def test_paths_that_no_file_can_have() -> None:
    long = "x" * 300
    for command in (
        ("status", long),
        ("report", long),
        ("predict", long, "t.csv"),
        ("check", "task.yaml", "--recipe", long),
    ):
        assert "File name too long" in fails(*command) or "unknown recipe" in fails(*command)


def test_a_run_directory_in_use(made: Path) -> None:
    before = kept(made)
    with files.locked(made / ".handful.lock", made):
        process = start(*RUN, cwd=Path.cwd())
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().startswith(f"handful: run: in use by process {os.getpid()} since ")
    assert err.decode().endswith(". Wait until it ends, or use another path\n")
    assert kept(made) == before


@pytest.fixture
def full_disk() -> Iterator[None]:
    def fail(operation: str) -> None:
        if operation.startswith("write "):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.failpoint = fail
    yield
    files.failpoint = files._pass


def test_a_full_disk(made: Path, full_disk: None) -> None:
    before = kept(made)
    shutil.rmtree(made / "adapter")
    error = fails(*RUN)
    assert error.startswith("run")
    assert "cannot be written: No space left on device (" in error
    assert " bytes needed, " in error
    again = "then give the same command again: it goes on where it stopped"
    assert error.endswith(f" free). Free that space, {again}")
    assert kept(made) == before


def test_a_read_only_file_system(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(operation: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(files, "failpoint", fail)
    error = fails(*RUN[:-1], "elsewhere")
    assert error.startswith("elsewhere: cannot be written: Read-only file system (")
    assert error.endswith("The file system is mounted read-only: choose a directory elsewhere")
    assert not Path("elsewhere").exists()


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


ADAPTER_FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "bit flip": (lambda d: _flip(d / "scripted_adapter.json"), "scripted_adapter.json was changed"),
    "missing file": (lambda d: (d / "scripted_adapter.json").unlink(), "scripted_adapter.json is missing"),
    "extra file": (lambda d: (d / "notes.txt").write_text("x"), "notes.txt does not belong to it"),
    "damaged sums": (lambda d: (d / "SHA256SUMS").write_text("x\n"), "SHA256SUMS is damaged"),
}


@pytest.mark.parametrize("fault", ADAPTER_FAULTS)
def test_a_damaged_classifier(fault: str, made: Path) -> None:
    damage, message = ADAPTER_FAULTS[fault]
    damage(made / "adapter")
    before = kept(made)
    mend = "Move it elsewhere" if fault == "extra file" else "Copy it again whole, or train it again"
    expected = f"run/adapter: {message}. {mend}"
    assert fails("predict", "run/adapter", "test.jsonl") == expected
    assert fails("predict", "run", "test.jsonl") == expected
    assert kept(made) == before


def test_a_run_without_a_classifier_yet(made: Path) -> None:
    shutil.rmtree(made / "adapter")
    assert fails("predict", "run", "test.jsonl") == (
        "run: this run has no classifier yet. Give the run's command again; it goes on where it stopped."
    )


def test_a_classifier_that_is_none() -> None:
    Path("thing").mkdir()
    message = "not a classifier directory (no handful.json). Give the adapter directory of a finished run."
    assert fails("predict", "thing", "examples.csv") == f"thing: {message}"
    assert fails("predict", "nothing", "examples.csv") == f"nothing: {message}"


def test_a_classifier_with_another_base_model(made: Path, tiny_model_dir: Path) -> None:
    error = fails("predict", "run", "test.jsonl", "--base-model", tiny_model_dir)
    assert error.startswith(f"the weights of '{tiny_model_dir}' are not those this was made with (fingerprint dir-")
    assert error.endswith(
        ", expected scripted-1). Give the base model it was made with, or make it anew with this one."
    )


PREDICT_FAULTS: dict[str, tuple[tuple[str, ...], str]] = {
    "missing input": (("texts.csv",),
                      "texts.csv: there is no such file. Did you mean 'examples.csv' in the same folder?"),
    "missing column": (
        ("test.jsonl", "--text-column", "body"),
        "test.jsonl:1: there is no column 'body'; the columns are 'text', 'label'. "
        "Rename the column, or say which one to read: "
            "--text-column, or in a task file text_column and label_column.",
    ),
    "missing id column": (
        ("test.jsonl", "--id-column", "txt"),
        "test.jsonl:1: there is no column 'txt'; the columns are 'text', 'label'. "
        "Did you mean 'text'? Rename the column, or say which one to read: "
            "--text-column, or in a task file text_column and label_column.",
    ),
    "output ending": (
        ("test.jsonl", "-o", "out.xlsx"),
        "out.xlsx: predictions are not written to files ending in .xlsx. "
        "Name it .csv, .tsv, .jsonl, .ndjson, or pass --output-format.",
    ),
    "output folder": (("test.jsonl", "-o", "no/out.csv"), "no/out.csv: its folder does not exist. "
                      "Make the folder, or name another file."),
    "output is a folder": (("test.jsonl", "-o", "run"), "run: this is a folder, not a file. "
                           "Name the file to write in it."),
    "output is the input": (("test.jsonl", "-o", "test.jsonl"), "test.jsonl: this is the input file. "
                            "Name another file for the predictions."),
    "output is ours": (("test.jsonl", "-o", "examples.csv"), "examples.csv: the file is there already and holds no "
                       "predictions. Name another file, or replace this one with --force."),
    "output in a classifier": (("test.jsonl", "-o", "run/adapter/out.csv"), "run/adapter/out.csv: its folder is a "
                               "classifier, which any other file in it damages. Name a file in another folder."),
    "empty stdin": (("-",), "stdin: the file is empty. Give it a header line and one row per text."),
}  # fmt: skip


@pytest.mark.parametrize("fault", PREDICT_FAULTS)
def test_a_prediction_that_cannot_be_made(fault: str, made: Path) -> None:
    options, message = PREDICT_FAULTS[fault]
    before = Path("test.jsonl").read_bytes()
    assert fails("predict", "run", *options) == message
    assert Path("test.jsonl").read_bytes() == before


def test_resuming_with_another_input(made: Path) -> None:
    rows = [json.dumps({"text": f"red text {n}"}) for n in range(1500)]
    _write("many.jsonl", "\n".join([*rows, "{broken"]) + "\n")
    error = fails("predict", "run", "many.jsonl", "-o", "out.csv")
    assert error.startswith("many.jsonl:1501: the line is not valid JSON: ")
    assert not Path("out.csv").exists()
    assert Path("out.csv.partial").read_bytes().count(b"\n") == 1 + 1024
    partial = Path("out.csv.partial").read_bytes()
    mend = "Name another file with -o, or begin anew with --force."
    _write("many.jsonl", "\n".join(['{"text": "another"}', *rows[1:]]) + "\n")
    _write("other.jsonl", "\n".join(rows) + "\n")
    assert fails("predict", "run", "many.jsonl", "-o", "out.csv") == (
        "out.csv.partial: the first 1,024 rows of the input are others than those that were answered. " + mend
    )
    assert fails("predict", "run", "other.jsonl", "-o", "out.csv") == (
        "out.csv.partial: the input's name, the classifier or an option has changed since these rows were written. "
        + mend
    )
    _write("many.jsonl", "\n".join(rows[:1000]) + "\n")
    assert "the first 1,024 rows of the input are others" in fails("predict", "run", "many.jsonl", "-o", "out.csv")
    assert Path("out.csv.partial").read_bytes() == partial
    # The row that stopped it, mended: what was answered is not answered again.
    _write("many.jsonl", "\n".join([*rows, json.dumps({"text": "mended"})]) + "\n")
    resumed = handful("predict", "run", "many.jsonl", "-o", "out.csv")
    assert resumed.code == 0, resumed.err
    assert Path("out.csv").read_bytes().startswith(partial)
    assert handful("predict", "run", "many.jsonl", "-o", "anew.csv").code == 0
    assert Path("anew.csv").read_bytes() == Path("out.csv").read_bytes()


def test_initialising_badly() -> None:
    assert fails("init", "examples.csv") == (
        "task.yaml: the file is there already. Name another with -o, or pass --force."
    )
    assert Path("task.yaml").read_text() == TASK
    assert fails("init", "nothing.csv", "-o", "new.yaml") == "nothing.csv: there is no such file. Check the path."
    assert fails("init", "examples.csv", "-o", "no/new.yaml") == (
        "no/new.yaml: its folder does not exist. Make the folder, or name another file."
    )
    _write("one.csv", "text,label\na b,x\nc d,x\n")
    assert fails("init", "one.csv", "-o", "new.yaml") == (
        "one.csv: there is one label, 'x'. Give at least two labels to choose from."
    )
    assert not Path("new.yaml").exists()
    before = Path("examples.csv").read_bytes()
    assert fails("init", "examples.csv", "-o", "examples.csv", "--force") == (
        "examples.csv: this is the file of examples. Name another file for the task."
    )
    assert Path("examples.csv").read_bytes() == before
    assert fails("init", "examples.csv", "-o", ".", "--force") == (
        ".: this is a folder. Name the task file to write in it."
    )
    assert fails("init", "-", "-o", "new.yaml").startswith("-: a task cannot be made of standard input.")


def test_commands_that_are_none() -> None:
    assert fails("rnu") == "No such command 'rnu'. Did you mean 'run'?\nSee: handful --help"
    assert fails("run").startswith("Missing argument ")


def test_a_bad_file_from_a_real_process() -> None:
    process = start("run", "nowhere.yaml", cwd=Path.cwd())
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert err == b"handful: nowhere.yaml: there is no such file. Check the path.\n"


def test_the_traceback_is_there_when_asked_for() -> None:
    result = handful("--debug", "run", "nowhere.yaml")
    assert result.code == 2
    assert "Traceback" in result.err


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_little_memory_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(*args: object) -> None:
        raise error

    monkeypatch.setattr("handful.task.load_task", broken)
    result = handful("check", "task.yaml")
    assert result.code == 2
    assert result.err.startswith("handful: there is too little memory for this. On a GPU --load-in-4bit or")


def test_a_fault_of_ours_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("handful.task.load_task", broken)
    result = handful("check", "task.yaml")
    assert result.code == 1
    assert "Traceback" not in result.err
    assert result.err == (
        "handful: this is a fault of handful, not yours: ZeroDivisionError: division by zero\n"
        "Nothing finished before is lost; the same command goes on where it stopped. "
        "For the details:\n"
        "  handful --debug check task.yaml\n"
    )
