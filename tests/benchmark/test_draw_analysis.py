from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from handful.benchmark.draw_analysis import _growth, _WrittenDraw
from handful.benchmark.plan import BenchmarkPlan
from handful.evaluation.diversity import unique_ngrams
from handful.evaluation.methods import methods_of
from handful.records import Candidate, Example, Verdict
from tests.toys import RecordingEngine, small_recipe, two_label_task


def test_the_first_kept_texts_are_those_that_are_learnt_first() -> None:
    # Written label by label; the first text of each is moved to the other label.
    candidates = [Candidate(f"0-{label}-{n}", f"{label}{n}", "ab"[label], 0, "p") for label in (0, 1) for n in (0, 1)]
    verdicts = [
        Verdict(c.id, "kept" if c.id.endswith("1") else "relabelled", "r", "ab"[int(c.id[2]) ^ (c.id[-1] == "0")])
        for c in candidates
    ]
    draw = _WrittenDraw(cast("Any", None), candidates, verdicts)
    assert draw.kept == [("00", "b"), ("10", "a"), ("01", "a"), ("11", "b")]


def written_draw(n_written: int, n_real: int) -> _WrittenDraw:
    """A draw of three of four examples, with so many real texts more and so many written for each label."""
    task = two_label_task()
    real = [Example(f"real {i} of {label} x{i} y{i} z{i}", label) for i in range(n_real) for label in task.label_names]
    task = dataclasses.replace(task, examples=(*task.examples, *real))
    recipe = small_recipe(f"generate.synthetic_per_label={n_written}")
    (cell,) = BenchmarkPlan((task,), methods_of("lora_synthetic"), (0,), recipe, RecordingEngine(), 3).cells()
    texts = [
        (f"written {i} of {label} a{i} b{i}", i, at, label)
        for at, label in enumerate(task.label_names)
        for i in range(n_written)
    ]
    candidates = [Candidate(f"0-{at}-{i}", text, label, 0, "p") for text, i, at, label in texts]
    return _WrittenDraw(cell, candidates, [Verdict(c.id, "kept", "agrees", c.intended_label) for c in candidates])


def test_real_texts_are_those_that_were_not_shown() -> None:
    draw = written_draw(1, 0)
    shown = {example.text for example in draw.cell.handful().task.examples}
    texts = [text for text, _ in draw.real]
    assert len(texts) == 2 + 3  # one example a label is left, and the test texts
    assert not shown & set(texts)


@pytest.mark.parametrize(("n_real", "compared"), [(0, []), (12, [4, 10]), (60, [4, 10, 25, 30])])
def test_variety_grows_with_the_written_texts_whatever_real_ones_there_are(n_real: int, compared: list[int]) -> None:
    draw = written_draw(30, n_real)
    rows = list(_growth(draw))
    assert [row["texts_per_label"] for row in rows] == [4, 10, 25, 30]
    kept = {label: [text for text, own in draw.kept if own == label] for label in ("good", "bad")}
    assert [row["kept"] for row in rows] == [
        unique_ngrams([text for own in kept.values() for text in own[:size]], 3) for size in (4, 10, 25, 30)
    ]
    assert [row["texts_per_label"] for row in rows if "real" in row] == compared
    counts = [row["real"] for row in rows if "real" in row]
    assert counts == sorted(set(counts))
