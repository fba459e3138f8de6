from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from handful.errors import TaskError
from handful.limits import MAX_LABEL_CHARS
from handful.task import Example, load_task, task_template

LABEL = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=MAX_LABEL_CHARS
).filter(lambda text: text == text.strip())
HARD = ["yes", "null", ": x", "# y", '"', "'", "\\", "🙂", "- a", "a: b", "a #b", "*x", "&x", "!x", "{", "[", "%", "@"]


@given(st.lists(LABEL, min_size=2, max_size=4))
@example(HARD)
@example(["\ufffe" * MAX_LABEL_CHARS, "\U0010ffff", "a\u200b", "b\ufeff"])
@example(["\u200b", "a"])
@example(["a_b", "a b", "A_B", "c_d_e", "_f", "g__h"])
def test_template_gives_the_same_labels_back(tmp_path_factory: pytest.TempPathFactory, labels: list[str]) -> None:
    rows = [Example(f"text {index}", label) for index, label in enumerate(labels)]
    try:
        template = task_template(rows, "in put.jsonl", "no")
    except TaskError as error:
        known = ("code points", "the label is empty")
        assert len(set(labels)) == 1 or any(part in str(error) for part in known)  # noqa: PT017
        return
    folder = tmp_path_factory.mktemp("task")
    lines = [json.dumps(row.to_row()) for row in rows]
    (folder / "in put.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "task.yaml").write_text(template, encoding="utf-8")
    task = load_task(folder / "task.yaml")
    assert task.name == "no"
    assert task.label_names == tuple(dict.fromkeys(labels))
    for label, verbalizer in task.verbalizers.items():
        assert verbalizer in {label, label.replace("_", " ")}


def test_template_reads_well_and_as_plain_yaml() -> None:
    template = task_template([Example("a", "yes"), Example("b", "billing"), Example("c", "yes")], "e.csv", "demo")
    assert '\nlabels:\n  "yes":  # examples: 2\n  billing:  # examples: 1\n' in template
    assert yaml.safe_load(template) == {
        "name": "demo",
        "instruction": "Classify the text as one of the labels.",
        "text_name": "text",
        "labels": {"yes": None, "billing": None},
        "examples": "e.csv",
    }


def test_names_with_underscores_are_spoken_without_them() -> None:
    labels = ["card_arrival", "top_up_by_card", "a b", "a_b", "_odd", "x__y", "plain"]
    template = task_template([Example(label, label) for label in labels], "e.csv", "demo")
    assert '\n  card_arrival: {verbalizer: "card arrival"}  # examples: 1\n' in template
    spoken = {"card_arrival": {"verbalizer": "card arrival"}, "top_up_by_card": {"verbalizer": "top up by card"}}
    assert yaml.safe_load(template)["labels"] == {**dict.fromkeys(labels), **spoken}


def test_template_refuses_labels_no_task_can_have() -> None:
    with pytest.raises(TaskError, match=r"^e\.csv: there is one label, 'a'\."):
        task_template([Example("x", "a")], "e.csv", "demo")
