"""`handful predict`: every input and output format, standard streams, cut texts, and memory."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import EXAMPLES, PROJECT, Result, handful, start, write_task


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    task = write_task(folder, test=False)
    assert handful("run", task, "--model", "scripted", "--run", folder / "run").code == 0
    return folder / "run"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts.csv").write_text('key,text\nk1,red fox\nk2,"blue, deep\nsea"\nk3,\n')


def test_csv(run: Path) -> None:
    assert handful("predict", run, "texts.csv", "-o", "out.csv", "--id-column", "key").code == 0
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["k1", "k2", "k3"]
    for row in rows:
        shares = {label: float(row[f"p:{label}"]) for label in ("alpha", "beta")}
        assert sum(shares.values()) == pytest.approx(1)
        assert row["label"] == max(shares, key=lambda label: shares[label])
        assert float(row["probability"]) == shares[row["label"]]
        assert row["cut"] == "false"


def test_the_formats_say_the_same(run: Path) -> None:
    rows = []
    for name in ("out.csv", "out.tsv", "out.jsonl"):
        assert handful("predict", run, "texts.csv", "-o", name).code == 0
    for name, delimiter in (("out.csv", ","), ("out.tsv", "\t")):
        with Path(name).open(newline="") as file:
            rows.append([(r["id"], r["label"], float(r["p:alpha"])) for r in csv.DictReader(file, delimiter=delimiter)])
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    rows.append([(line["id"], line["label"], line["probabilities"]["alpha"]) for line in lines])
    assert rows[0] == rows[1] == rows[2]
    assert [row[0] for row in rows[0]] == ["2", "3", "5"]


def test_an_input_that_is_not_there_beside_an_output_that_is(run: Path) -> None:
    old = "id,label,probability,p:x,cut\n"
    Path("labels.csv").write_text(old)
    result = handful("predict", run, "txets.csv", "-o", "labels.csv")
    assert (result.code, Path("labels.csv").read_text()) == (2, old)
    assert result.err == ("handful: txets.csv: there is no such file. Did you mean 'texts.csv' in the same folder?\n")


def test_an_id_that_cannot_be_written_is_named(run: Path) -> None:
    Path("ids.jsonl").write_text('{"id": "\\ud800", "text": "x"}\n')
    result = handful("predict", run, "ids.jsonl", "-o", "out.csv", "--id-column", "id")
    assert result.code == 2
    assert "ids.jsonl:1: the id holds half a surrogate pair (U+D800)" in result.err


def test_a_column_of_another_name_is_told_how_to_read(run: Path) -> None:
    Path("other.csv").write_text("message\nred\n")
    result = handful("predict", run, "other.csv")
    assert result.code == 2
    assert "say which one to read: --text-column" in result.err


@pytest.mark.parametrize("ending", [".partial", ".partial.json", ".lock", ".lock.json"])
@pytest.mark.parametrize("called", ["by its name", "by a link", "from elsewhere"])
def test_an_input_that_is_a_file_that_is_needed_meanwhile_is_kept(run: Path, ending: str, called: str) -> None:
    kept = Path(f"out.csv{ending}")
    kept.write_bytes(Path("texts.csv").read_bytes())
    source = kept if called == "by its name" else Path("link.csv")
    if called == "by a link":
        source.symlink_to(kept)
    elif called == "from elsewhere":
        source.hardlink_to(kept)
    result = handful("predict", run, source, "--format", "csv", "-o", "out.csv", "--force")
    assert result.code == 2
    assert f"the input {source} is out.csv{ending}, whose name is needed while this is written" in result.err
    assert source.read_bytes() == Path("texts.csv").read_bytes()


def test_a_file_that_holds_no_predictions_is_replaced_by_force_only(run: Path) -> None:
    own = "text,label\nmine,alpha\n"
    Path("out.csv").write_text(own)
    result = handful("predict", run, "texts.csv", "-o", "out.csv")
    assert (result.code, Path("out.csv").read_text()) == (2, own)
    assert result.err == (
        "handful: out.csv: the file is there already and holds no predictions. "
        "Name another file, or replace this one with --force.\n"
    )
    assert handful("predict", run, "texts.csv", "-o", "out.csv", "--force").code == 0
    predictions = Path("out.csv").read_bytes()
    assert predictions.startswith(b"id,label,probability,p:alpha,")
    # Predictions are replaced without a word, of other texts and in another format, too.
    assert handful("predict", run, "texts.csv", "-o", "out.csv", "--output-format", "jsonl").code == 0
    assert handful("predict", run, "texts.csv", "-o", "out.csv").code == 0
    assert Path("out.csv").read_bytes() == predictions


def test_files_of_others_beside_the_output_are_kept(run: Path) -> None:
    for name in ("out.csv.partial", "out.csv.lock"):
        Path(name).write_text("a person's own")
        result = handful("predict", run, "texts.csv", "-o", "out.csv")
        assert (result.code, Path(name).read_text()) == (2, "a person's own")
        assert result.err.splitlines()[-1].startswith(f"handful: {name}: this ")
        Path(name).unlink()


def test_an_output_in_a_classifier_is_refused(run: Path) -> None:
    Path("link").symlink_to(run / "adapter")
    for folder in (run / "adapter", "link"):
        result = handful("predict", run, "texts.csv", "-o", f"{folder}/out.csv", "--force")
        assert result.code == 2
        assert "its folder is a classifier" in result.err
    assert handful("predict", run, "texts.csv").code == 0
    assert handful("predict", run, "texts.csv", "-o", run / "out.csv").code == 0


def test_an_output_of_no_known_kind_is_refused_before_the_model_is_loaded(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handful.classifier.Classifier.load", lambda *_, **__: pytest.fail("it was loaded"))
    result = handful("predict", run, "texts.csv", "-o", "out.txt")
    assert result.code == 2
    assert "predictions are not written to files ending in .txt" in result.err


def test_no_file_takes_the_place_of_a_pipe_or_of_the_input(run: Path) -> None:
    os.mkfifo("pipe.csv")
    result = handful("predict", run, "texts.csv", "-o", "pipe.csv")
    assert result.code == 2
    assert "pipe.csv: this is a pipe or a device" in result.err
    assert Path("pipe.csv").is_fifo()
    command = [sys.executable, "-m", "handful", "predict", str(run), "-", "-o", "texts.csv"]
    before = Path("texts.csv").read_bytes()
    with Path("texts.csv").open("rb") as stdin:
        done = subprocess.run(
            command, stdin=stdin, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, check=False
        )
    assert done.returncode == 2
    assert b"this is the input file" in done.stderr
    assert Path("texts.csv").read_bytes() == before


def test_a_benchmark_has_no_classifier() -> None:
    write_task(Path())
    methods = ("--methods", "zero_shot", "--seeds", "1")
    assert handful("benchmark", "task.yaml", "--model", "scripted", "-o", "bench", *methods).code == 0
    result = handful("predict", "bench", "texts.csv")
    assert (result.code, result.err) == (
        2,
        "handful: bench: a benchmark or estimate keeps no classifier. Make a classifier with `handful run`.\n",
    )


def test_stdout_and_stdin(run: Path) -> None:
    piped = handful("predict", run, "-", stdin=Path("texts.csv").read_bytes())
    assert piped.code == 0, piped.err
    assert handful("predict", run, "texts.csv").out == piped.out
    assert [event["id"] for event in piped.events()] == ["2", "3", "5"]
    as_csv = handful("predict", run, "-", "--output-format", "csv", stdin=b'{"text": "red"}\n')
    assert as_csv.out.startswith("id,label,probability,p:alpha,p:beta,cut\n1,")
    told = handful("predict", run, "-", "--format", "tsv", "--text-column", "b", stdin=b"a\tb\nx\tred\n")
    assert len(told.events()) == 1


def test_header_only_gives_header_only(run: Path) -> None:
    Path("none.csv").write_text("text\n")
    assert handful("predict", run, "none.csv", "-o", "out.csv").code == 0
    assert Path("out.csv").read_text() == "id,label,probability,p:alpha,p:beta,cut\n"


def test_parquet(run: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["red fox", "blue sea"]}), "texts.parquet")
    assert [row["id"] for row in handful("predict", run, "texts.parquet").events()] == ["1", "2"]


def test_the_same_again_is_the_same_file(run: Path) -> None:
    assert handful("predict", run, "texts.csv", "-o", "out.csv").code == 0
    first = Path("out.csv").read_bytes()
    assert handful("predict", run, "texts.csv", "-o", "out.csv").code == 0
    assert Path("out.csv").read_bytes() == first
    assert sorted(path.name for path in Path().iterdir()) == ["out.csv", "texts.csv"]


ROWS = [f"red text {n}" for n in range(1500)]


def stopped_at(bad: str, run: Path, *options: str) -> str:
    """Answer 1,024 of ROWS until a bad row stops it; return what was said."""
    Path("long.csv").write_text("\n".join(["text", *ROWS, bad]) + "\n")
    failed = handful("predict", run, "long.csv", "-o", "out.csv", *options)
    assert failed.code == 2
    assert "long.csv:1502: the row has 2 fields" in failed.err
    assert Path("out.csv.partial").read_bytes().count(b"\n") == 1 + 1024
    return failed.err.splitlines()[0]


def answered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows are answered from now on, chunk by chunk."""
    from handful.cli.watching import Watch

    counts: list[int] = []
    advance = Watch.advance

    def count(self: Watch, number: int) -> None:
        counts.append(number)
        advance(self, number)

    monkeypatch.setattr(Watch, "advance", count)
    return counts


def test_the_same_command_goes_on_behind_what_a_bad_row_stopped(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "1,024 rows are answered and kept: the same command goes on behind them."
    assert stopped_at("red,blue", run) == hint
    assert "kept" not in handful("predict", run, "none.csv", "-o", "new.csv").err
    counts = answered(monkeypatch)
    assert stopped_at("red,blue", run) == hint  # the same row stops it again
    assert counts == []
    Path("long.csv").write_text("\n".join(["text", *ROWS, "blue"]) + "\n")
    assert handful("predict", run, "long.csv", "-o", "out.csv").code == 0
    assert sum(counts) == 1501 - 1024
    assert handful("predict", run, "long.csv", "-o", "anew.csv").code == 0
    assert Path("out.csv").read_bytes() == Path("anew.csv").read_bytes()


def test_force_begins_anew_and_says_how_to_go_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_at("red,blue", run)
    Path("other.csv").write_text("text\nblue\n")
    refused = handful("predict", run, "other.csv", "-o", "out.csv")
    assert refused.code == 2
    assert "Name another file with -o, or begin anew with --force" in refused.err
    assert "kept" not in refused.err
    counts = answered(monkeypatch)
    hint = "1,024 rows are answered and kept: the same command without --force goes on behind them."
    assert stopped_at("red,blue", run, "--force") == hint
    assert sum(counts) == 1024
    assert handful("predict", run, "other.csv", "-o", "out.csv", "--force").code == 0
    assert len(Path("out.csv").read_text().splitlines()) == 2
    assert not Path("out.csv.partial").exists()


def test_standard_input_goes_on_too_if_it_begins_as_it_did(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(*rows: str) -> Result:
        return handful("predict", run, "-", "-o", "out.csv", stdin="\n".join(["text", *rows]).encode())

    assert piped(*ROWS, "red,blue").code == 2
    partial = Path("out.csv.partial").read_bytes()
    assert "the first 1,024 rows of the input are others" in piped("another", *ROWS).err
    assert Path("out.csv.partial").read_bytes() == partial
    counts = answered(monkeypatch)
    assert piped(*ROWS).code == 0
    assert sum(counts) == 1500 - 1024
    assert len(Path("out.csv").read_text().splitlines()) == 1501


def test_rows_that_a_spreadsheet_saved_meanwhile_are_not_gone_on_with(run: Path) -> None:
    stopped_at("red,blue", run)
    Path("long.csv").write_text("\n".join(["text", *ROWS, "blue"]) + "\n")
    partial = Path("out.csv.partial")
    saved = partial.read_bytes().replace(b"\n", b"\r\n")
    partial.write_bytes(saved)
    result = handful("predict", run, "long.csv", "-o", "out.csv")
    assert result.code == 2
    assert result.err == (
        "handful: out.csv.partial: this was changed since its rows were written. "
        "Name another file with -o, or begin anew with --force.\n"
    )
    assert (partial.read_bytes(), Path("out.csv").exists()) == (saved, False)
    assert handful("predict", run, "long.csv", "-o", "out.csv", "--force").code == 0
    with Path("out.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [str(n) for n in range(2, 1503)]


@pytest.mark.parametrize("name", ["out.csv", "out.tsv"])
def test_any_id_reads_back(run: Path, name: str) -> None:
    ids = ["a\rb", "\r", "a\nb", "a\r\nb", 'a"b', "a,b", "a\tb", ""]
    Path("ids.jsonl").write_text("".join(json.dumps({"id": each, "text": "x"}) + "\n" for each in ids))
    assert handful("predict", run, "ids.jsonl", "--id-column", "id", "-o", name).code == 0
    again = handful("predict", run, name, "--id-column", "id", "--text-column", "label")
    assert [row["id"] for row in again.events()] == ids


def test_formulas_are_warned_of_once_where_spreadsheets_may_read_them(run: Path) -> None:
    Path("ids.jsonl").write_text("".join(json.dumps({"id": f"=1+{n}", "text": "x"}) + "\n" for n in range(1500)))
    command = ("predict", run, "ids.jsonl", "--id-column", "id")
    said = "handful: warning: the id or label '=1+0' is a formula to spreadsheets: import that column as text\n"
    for options in (("-o", "out.csv"), ("--output-format", "tsv")):
        result = handful(*command, *options)
        assert result.code == 0
        assert (result.err.count("warning"), said in result.err) == (1, True)
    assert Path("out.csv").read_text().splitlines()[1].startswith("=1+0,")
    assert "warning" not in handful(*command, "-o", "out.jsonl").err
    assert "warning" not in handful("predict", run, "texts.csv", "-o", "plain.csv").err


@pytest.mark.parametrize("written_as", ["jsonl", "csv"])
def test_nothing_that_steers_a_terminal_is_sent_to_one(run: Path, written_as: str) -> None:
    steering = "é\x9b2J\u202e\x1b[2J\x7f\r"
    Path("ids.jsonl").write_text(json.dumps({"id": steering, "text": "x"}) + "\n")
    command = ("predict", run, "ids.jsonl", "--id-column", "id", "--output-format", written_as)
    piped = handful(*command).out
    ours, theirs = os.openpty()
    argv = [sys.executable, "-m", "handful", *map(str, command)]
    subprocess.run(argv, stdout=theirs, env={**os.environ, "PYTHONPATH": str(PROJECT)}, check=True)
    shown = os.read(ours, 10_000).decode().replace("\r\n", "\n")  # the terminal's own line ends
    os.close(theirs)
    os.close(ours)
    assert "\x9b" in piped
    assert "é\\u009b2J\\u202e\\u001b[2J\\u007f\\" in shown
    assert not set(shown) & set(steering) - {*"é[2J"}
    if written_as == "jsonl":
        assert json.loads(shown) == json.loads(piped)


def test_every_process_gives_the_same_bytes(run: Path) -> None:
    Path("long.csv").write_text("text\n" + "".join(f"{' '.join(EXAMPLES['alpha'])} {n}\n" for n in range(50)))
    outputs = set()
    for seed in ("1", "2", "3"):  # of Python's order of sets
        process = start("predict", run, "long.csv", cwd=Path.cwd(), env={"PYTHONHASHSEED": seed})
        outputs.add(process.communicate(timeout=60)[0])
        assert process.returncode == 0
    assert len(outputs) == 1


def test_cut_texts_are_counted(tiny_model_dir: Path) -> None:
    task = write_task(Path(), test=False)
    options = ("--set", "prompt.max_text_tokens=16", "--set", "filter.method=none", "--set", "train.epochs=1")
    small = ("--set", "generate.synthetic_per_label=16", "--set", "generate.batch_size=8", "--set", "train.min_steps=0")
    made = handful("train", task, "--model", tiny_model_dir, "--run", "tiny", *options, *small)
    assert made.code == 0, made.err
    Path("long.csv").write_text(f"text\nshort\n{'long ' * 400}\n{'longer ' * 400}\n")
    result = handful("predict", "tiny", "long.csv")
    assert result.code == 0, result.err
    assert [row["cut"] for row in result.events()] == [False, True, True]
    assert result.err.count("warning") == 1
    assert "2 of the texts were longer than 16 tokens: their middle was left out" in result.err


def test_many_rows_need_no_more_memory_than_few(run: Path) -> None:
    # The second reads fifteen times as much. Not `ru_maxrss`: a process begins with that of the one it is forked from.
    code = (
        "import sys\n"
        "from handful.cli.app import execute\n"
        "from handful.environment import peak_memory_mb\n"
        "assert execute(['predict', sys.argv[1], sys.argv[2], '-o', 'out.jsonl']) == 0\n"
        "print(peak_memory_mb())\n"
    )
    peaks = []
    for count in (2_000, 30_000):
        Path("many.csv").write_text("text\n" + f"{'red and blue ' * 40}\n" * count)
        done = subprocess.run(
            [sys.executable, "-c", code, str(run), "many.csv"],
            check=True,
            capture_output=True,
            env={"PYTHONPATH": str(PROJECT)},
        )
        peaks.append(float(done.stdout))
    assert peaks[1] < peaks[0] * 1.1, peaks


def test_less_precision_says_what_it_costs(tiny_model_dir: Path) -> None:
    task = write_task(Path(), test=False)
    small = ["--set", "generate.synthetic_per_label=16", "--set", "train.min_steps=2", "--set", "train.epochs=1"]
    made = handful("run", task, "--model", tiny_model_dir, "--run", "run", *small, "--set", "filter.method=none")
    assert made.code == 0, made.err
    exact = handful("predict", "run", "texts.csv")
    short = handful("predict", "run", "texts.csv", "--precision", "bfloat16")
    assert short.code == 0, short.err
    assert "bfloat16: the same label as in float32 on 100.0% of the first 3 texts" in short.err
    assert [(e["id"], e["label"]) for e in short.events()] == [(e["id"], e["label"]) for e in exact.events()]
    assert short.out != exact.out
