"""Labels that YAML, CSV and tokenizers like to change come through the whole way as they were written."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.commands import handful

LABELS = ("yes", "no", "null", "1.0", "2026-11-22", "🦊", 'the "quoted", one', "New York", "New Jersey")
SMALL = (
    *("--set", "filter.method=none"),  # a random model agrees with nobody
    *("--set", "generate.synthetic_per_label=2"),
    *("--set", "generate.batch_size=6"),
    *("--set", "generate.max_new_tokens=12"),
    *("--set", "train.epochs=1"),
    *("--set", "train.min_steps=0"),
)


@pytest.mark.parametrize("model", ["scripted", "tiny"])
@pytest.mark.parametrize("layout", ["plain", "chat"])
def test_labels_survive(
    model: str, layout: str, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        (f"text{n} " + " ".join(f"{word}{index}" for word in ("red", "big", "old", "wet", "hot")), label)
        for n in range(2)
        for index, label in enumerate(LABELS)
    ]
    with Path("examples.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    assert handful("init", "examples.csv", "--name", "odd").code == 0
    Path("task.yaml").write_text(Path("task.yaml").read_text().replace("# test: test.csv", "test: examples.csv"))
    name = str(tiny_model_dir) if model == "tiny" else model
    result = handful(
        "run", "task.yaml", "--model", name, "--run", "run", "--json", "--set", f"prompt.format={layout}", *SMALL
    )
    assert result.code == 0, result.err
    assert tuple(result.events()[-1]["labels"]) == LABELS
    assert tuple(json.loads(Path("run/adapter/handful.json").read_text())["labels"]) == LABELS
    training = [json.loads(line)["label"] for line in Path("run/training.jsonl").read_text().splitlines()]
    assert set(training) == set(LABELS)
    assert handful("predict", "run", "examples.csv", "-o", "out.csv").code == 0
    with Path("out.csv").open(newline="") as file:
        predicted = list(csv.DictReader(file))
    assert [column[2:] for column in predicted[0] if column.startswith("p:")] == list(LABELS)
    for row in predicted:
        shares = [float(row[f"p:{label}"]) for label in LABELS]
        assert sum(shares) == pytest.approx(1)
        assert row["label"] == LABELS[shares.index(max(shares))]
    if model == "scripted":  # which has learnt the words of these very texts
        assert {row["label"] for row in predicted} == set(LABELS)
