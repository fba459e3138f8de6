from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from handful.errors import RunError
from handful.evaluation.audit import AuditedTexts, audit_texts, texts_of_run, texts_of_task
from handful.evaluation.mentions import Lexicon
from handful.evaluation.terms import choose_terms
from handful.records import Example, TrainingExample
from handful.run import open_run
from tests.toys import two_label_task

LEXICONS = [Lexicon(axis) for axis in choose_terms()]
REAL = tuple(
    Example(f"{who} wrote a long letter {n}", label) for n in "12" for who, label in (("she", "a"), ("he", "b"))
)


def run_with(folder: Path, *rows: object) -> Path:
    with open_run(folder / "run", {"identity": {"task_name": "toys", "seed": 5}, "environment": {}}) as run:
        run.publish("training", [row.to_row() if isinstance(row, TrainingExample) else {"row": row} for row in rows])
    return folder / "run"


def test_texts_of_a_run_are_those_it_trains_on(tmp_path: Path) -> None:
    rows = [
        TrainingExample("x", "b", "real"),
        TrainingExample("y", "a", "real"),
        TrainingExample("z", "a", "synthetic"),
    ]
    texts = texts_of_run(run_with(tmp_path, *rows))
    assert texts == AuditedTexts("toys", ("b", "a"), (Example("x", "b"), Example("y", "a")), (Example("z", "a"),), 5)


def test_a_run_without_usable_texts(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such directory"):
        texts_of_run(tmp_path / "none")
    directory = run_with(tmp_path)
    with pytest.raises(RunError, match="damaged"):
        texts_of_run(directory)
    with pytest.raises(RunError, match="damaged"):
        texts_of_run(run_with(tmp_path, "no training example"))
    broken = {"text": 3, "label": "a", "source": "real", "weight": 1.0, "label_probabilities": []}
    (directory / "training.jsonl").write_text(json.dumps(broken) + "\n")
    with pytest.raises(RunError, match="damaged"):
        texts_of_run(directory)
    (directory / "training.jsonl").unlink()
    with pytest.raises(RunError, match=r"no training\.jsonl: writing and checking are not done"):
        texts_of_run(directory)


def test_planted_bias_is_found_in_the_synthetic_texts_alone() -> None:
    synthetic = [Example(f"she sings number {n}", "a") for n in range(15)]
    synthetic += [Example(f"he sings number {n}", "b") for n in range(15)]
    audit = audit_texts(AuditedTexts("t", ("a", "b"), REAL, tuple(synthetic)), LEXICONS)
    assert audit.synthetic is not None
    assert audit.synthetic.mentions["gender"] == {"female": 15, "male": 15}
    assert audit.real.mentions["gender"] == {"female": 2, "male": 2}
    assert (audit.synthetic.comparisons, audit.synthetic.expected_by_chance) == (4, 0.2)
    assert all(entry.excludes_zero and entry.survives_adjustment for entry in audit.synthetic.associations)
    assert audit.real.comparisons == 4
    assert not any(entry.excludes_zero for entry in audit.real.associations)
    assert "certifies nothing" in audit.note


def test_words_and_diversity_compare_the_two_sources() -> None:
    synthetic = tuple(Example("the bird sings the same song", "a") for _ in range(30))
    audit = audit_texts(AuditedTexts("t", ("a", "b"), REAL, synthetic), LEXICONS)
    assert audit.synthetic is not None
    assert {entry.word for entry in audit.synthetic_words} <= {"bird", "sings", "song"}
    assert {"wrote", "letter", "long"} <= {entry.word for entry in audit.real_words}
    assert all(entry.z < 0 for entry in audit.real_words)
    assert audit.real.diversity.n_words == 24
    assert audit.real.diversity.overlap is None
    assert audit.synthetic.diversity.overlap == 0
    short = audit.synthetic.diversity_equal_length
    assert short is not None
    assert short.n_words == 24
    assert short.self_bleu == pytest.approx(1)


def test_a_task_is_audited_by_itself() -> None:
    audit = audit_texts(texts_of_task(two_label_task()), LEXICONS)
    assert audit.synthetic is None
    assert audit.real.n_texts == 8
    assert audit.real.diversity_equal_length is None
    assert (audit.synthetic_words, audit.real_words, audit.swaps) == ((), (), None)


def test_the_test_texts_of_a_run_are_looked_at_by_themselves(tmp_path: Path) -> None:
    directory = run_with(tmp_path, TrainingExample("x", "good", "real"), TrainingExample("y", "bad", "real"))
    task = two_label_task()
    (directory / "task.json").write_text(json.dumps(task.to_dict()))
    texts = texts_of_run(directory)
    assert texts.test == task.test
    pairs = (("she", "good"), ("he", "bad"))
    planted = tuple(Example(f"{who} came", label) for who, label in pairs for _ in range(12))
    audit = audit_texts(dataclasses.replace(texts, test=planted), LEXICONS)
    assert audit.test is not None
    assert all(row.excludes_zero for row in audit.test.associations)
    assert (audit.real.comparisons, audit.test.comparisons) == (0, 4)
    numbers, unknown = ({**task.to_dict(), "test": [{"text": text, "label": "x"}]} for text in (3, "a text"))
    for damaged in ('{"name": 3}', json.dumps(numbers), json.dumps(unknown), "[]"):
        (directory / "task.json").write_text(damaged)
        with pytest.raises(RunError, match="damaged"):
            texts_of_run(directory)


@pytest.mark.parametrize("seed", ["abc", None, [1], 1e400, {"a": 1}])
def test_a_seed_that_is_no_number(tmp_path: Path, seed: object) -> None:
    directory = run_with(tmp_path, TrainingExample("x", "a", "real"))
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["identity"]["seed"] = seed
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"manifest\.json: the seed is .*, not a number\. Was it written by"):
        texts_of_run(directory)
