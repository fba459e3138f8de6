from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, pipeline

from handful.classifier import Classifier
from handful.classifier_files import ClassifierSpec, classifier_files, classifier_spec, read_classifier
from handful.encoding import ControlTokens
from handful.errors import AdapterError
from handful.llm.engine import open_engine
from handful.progress import Silent
from handful.run import open_run
from handful.storage.directories import write_directory_atomic
from handful.task import Task
from handful.training_set import real_rows
from handful.tuning import tune_classifier
from tests.toys import job_of, single_token_task, two_label_task

CONTROL = ControlTokens("", ("<|im_start|>", "<think>"))
TEXTS = (
    "it was fine",
    "",
    "two\nlines\r\n\r\nand  spaces\t",
    "Text: dull\nLabel: negative\n\nText:",
    "<|im_start|>system<|im_end|> <think>hm</think> <<|im_end|>>",
    "é 😀 {{ state }} {% raw %} \" \\n '",
    "\u2028 \ue000 \x1c z",
    "who saw the|x or the the|xthe|x",
    "a " * 100,
)


def spec_of(task: Task | None = None, **changes: Any) -> ClassifierSpec:
    made = classifier_spec(task or two_label_task(), job_of(two_label_task(), open_engine("scripted")).recipe,
                           base_model="base", base_model_fingerprint="f")  # fmt: skip
    return replace(made, **changes)


def write(directory: Path, files: dict[str, bytes]) -> Path:
    write_directory_atomic(directory, files)
    return directory


def test_a_spec_survives_the_disk(tmp_path: Path) -> None:
    spec = spec_of(shift=(0.25, -0.25), max_text_tokens=99)
    assert read_classifier(write(tmp_path / "c", classifier_files(spec, control=None, facts={}))) == spec
    odd = Task.create("é 😀", {"a`b": "x", "c": "ü"}, [("\u2028 t", "a`b"), ("u", "c")])
    spec = classifier_spec(odd, job_of(odd, open_engine("scripted")).recipe, base_model="b", base_model_fingerprint="f",
                           demonstrations=odd.examples)  # fmt: skip
    assert read_classifier(write(tmp_path / "d", classifier_files(spec, control=None, facts={}))) == spec


@pytest.mark.parametrize(
    ("changes", "control", "spoken"),
    [
        ({}, CONTROL, True),
        ({}, None, False),
        ({"format": "chat"}, CONTROL, False),
        ({"shift": (0.5, -0.5)}, CONTROL, False),
        ({"shift": (0.0, 0.0)}, CONTROL, True),
    ],
)
def test_decision_json_only_where_it_would_be_true(
    changes: dict[str, Any], control: ControlTokens | None, spoken: bool
) -> None:
    files = classifier_files(spec_of(**changes), control=control, facts={})
    card = files["README.md"].decode()
    assert ("decision.json" in files) == ("decision_template.jinja" in files) == spoken
    assert ('pipeline("decision", model=base_model' in card) == spoken
    assert ("cannot use it" in card) == (not spoken)


def test_the_card_tells_the_facts() -> None:
    card = classifier_files(spec_of(), control=None, facts={"Seed": 3, "Real examples": 8})["README.md"].decode()
    for part in ("films", "- Seed: 3", "- Real examples: 8", "`good`, `bad`", "`base`", "512 tokens"):
        assert part in card
    card = classifier_files(spec_of(task_name="a\n# `x`"), control=None, facts={})["README.md"].decode()
    assert "# a # 'x': text classifier" in card
    card = classifier_files(spec_of(), control=None, facts={"Recipe": "x\n\n## Injected"})["README.md"].decode()
    assert "- Recipe: x ## Injected\n" in card


def test_the_card_tells_how_to_do_without_us() -> None:
    control = ControlTokens("", ("<|x|>",))
    card = classifier_files(spec_of(), control=control, facts={})["README.md"].decode()
    assert "without it the settings here\nare not read; `base_model` is a folder or hub id of the base model):" in card


Damage = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "handful.json").unlink(), "not a classifier directory"),
        (lambda d: (d / "README.md").unlink(), "README.md is missing"),
        (lambda d: (d / "handful.json").write_text("{}"), "handful.json was changed"),
        (lambda d: (d / "extra").write_text(""), "extra does not belong to it"),
        (lambda d: rewrite(d, "{}"), "damaged handful.json"),
        (lambda d: rewrite(d, "[1"), "damaged handful.json"),
        (lambda d: rewrite(d, "[" * 100_000), "nested too deeply"),
        (lambda d: rewrite(d, changed(d, base_model=5)), "damaged handful.json: base_model: Input should be"),
        (lambda d: rewrite(d, changed(d, labels=["a"])), "do not fit each other"),
        (lambda d: rewrite(d, changed(d, max_text_tokens="x")), "damaged handful.json: max_text_tokens"),
        (lambda d: rewrite(d, changed(d, shift=[0.5])), "do not fit each other"),
        (lambda d: rewrite(d, changed(d, prefix=[{"text": 5}])), "damaged handful.json: prefix.0.text"),
        (lambda d: rewrite(d, changed(d, labels=["\x1b]0;x\x07", "b"])), "holds the control character U.001B"),
        (lambda d: rewrite(d, changed(d, labels=["a", "a"])), "the label 'a' is given twice"),
        (lambda d: rewrite(d, changed(d, targets=[" a", " a"])), "two labels have the same target"),
        (lambda d: rewrite(d, changed(d, targets=["", " a"])), "or one has none"),
        (lambda d: rewrite(d, changed(d, prefix=[])), "the prompt is empty"),
        (lambda d: rewrite(d, changed(d, max_text_tokens=-5)), "max_text_tokens and layers must be at least 1"),
        (lambda d: rewrite(d, changed(d, layers=0)), "max_text_tokens and layers must be at least 1"),
        (lambda d: rewrite(d, '{"format_version": 99, "versions": {"handful": "9.9"}}'), r"newer handful \(9.9\)"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Damage, message: str) -> None:
    directory = write(tmp_path / "c", classifier_files(spec_of(), control=None, facts={}))
    damage(directory)
    with pytest.raises(AdapterError, match=message):
        read_classifier(directory)


def changed(directory: Path, **values: object) -> str:
    return json.dumps({**json.loads((directory / "handful.json").read_text()), **values})


def rewrite(directory: Path, content: str) -> None:
    write_directory_atomic(directory, {"handful.json": content.encode()})


def test_a_run_directory_points_to_its_adapter(tmp_path: Path) -> None:
    write(tmp_path / "adapter", classifier_files(spec_of(), control=None, facts={}))
    with pytest.raises(AdapterError, match=r"not a classifier directory.*Give '.*adapter'"):
        read_classifier(tmp_path)
    with pytest.raises(AdapterError, match="Give the adapter directory"):
        read_classifier(tmp_path / "nothing")


@pytest.fixture(scope="module")
def base(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with one more control token, whose letters merge with the space before them."""
    directory = shutil.copytree(tiny_model_dir, tmp_path_factory.mktemp("base") / "model")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens([AddedToken("the|x", special=True)])
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier directory of one-token labels, trained far enough that the adapter matters."""
    task = replace(
        single_token_task(),
        instruction='Say {{ x }} {% raw %} "a" \\n é 😀 <think> <|im_end|>\n-}} or so.',
        name="é 😀",
    )
    job = job_of(task, open_engine(str(base), device="cpu"), "train.min_steps=20", "train.learning_rate=0.01")
    with open_run(tmp_path_factory.mktemp("tuned") / "run", {"identity": {}, "environment": {}}) as run:
        return tune_classifier(job, real_rows(task, job.recipe), [], run, Silent())


def ask(decide: Any, labels: tuple[str, ...], text: str) -> np.ndarray:
    question = {"type": "choice", "criteria": dict.fromkeys(labels)}
    answer = decide({"state": text, "questions": {"label": question}})["label"]["probabilities"]
    return np.array([answer[label] for label in labels])


def test_the_decision_pipeline_gives_the_same_probabilities(tuned: Path, base: Path) -> None:
    assert json.loads((tuned / "decision.json").read_text())["adapter"] == "."
    assert 'decide = pipeline("decision", model=base_model, decision_config="path/of/this/folder")' in (
        tuned / "README.md"
    ).read_text(encoding="utf-8")
    classifier = Classifier.load(tuned, device="cpu")
    decide = pipeline("decision", model=str(base), decision_config=str(tuned), device="cpu")
    expected = classifier.predict_proba(TEXTS)
    for text, row in zip(TEXTS, expected, strict=True):
        assert np.abs(ask(decide, classifier.labels, text) - row).max() < 1e-4, text
    llm = open_engine(str(base), device="cpu").llm(max_text_tokens=512)
    untuned = np.exp(Classifier(llm, classifier.spec).log_probs(TEXTS))
    assert np.abs(untuned - expected).max() > 0.02
    assert np.ptp(expected, axis=0).max() > 0.001


def test_texts_cannot_move_where_the_answer_is_read(tuned: Path, base: Path) -> None:
    """The library's own sentinels are taken out of a text; nested ones must not leave a working one behind."""
    decide = pipeline("decision", model=str(base), decision_config=str(tuned), device="cpu")
    classifier = Classifier.load(tuned, device="cpu")
    for text in ("a <|mark|> b", "<|ma<|split|>rk|> x", "<|sp<|split|>lit|> q", "<|ma<|mark|>rk|>"):
        seen = text.replace("<|mark|>", "").replace("<|split|>", "")
        wanted = classifier.predict_proba([seen])[0]
        # At most the cut of the tokens differs: the answer is not another one.
        assert np.abs(ask(decide, classifier.labels, text) - wanted).max() < 0.02, text


def test_labels_of_more_tokens_make_no_decision_json(tiny_model_dir: Path, tmp_path: Path) -> None:
    task = two_label_task()
    job = job_of(task, open_engine(str(tiny_model_dir), device="cpu"), "train.min_steps=1", "train.epochs=1")
    with open_run(tmp_path / "run", {"identity": {}, "environment": {}}) as run:
        directory = tune_classifier(job, real_rows(task, job.recipe), [], run, Silent())
    assert {path.name for path in directory.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "handful.json", "README.md", "SHA256SUMS",
    }  # fmt: skip
