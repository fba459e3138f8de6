from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from handful.demonstrations import split_folds
from handful.errors import Interrupted
from handful.job import Job
from handful.judge import dismiss_judges, joint_scores, judge_demonstrations, open_judge, tune_judge
from handful.llm.protocol import LLM
from handful.records import Candidate, LabelScores
from handful.run import open_run
from tests.toys import Listener, RecordingEngine, RecordingLLM, job_of, two_label_task

MANIFEST: dict[str, dict[str, str]] = {"identity": {}, "environment": {}}
CANDIDATES = [Candidate(f"0-0-{i}", f"a lovely text {i}", "good", i, "p", i % 2) for i in range(6)]


@dataclass(frozen=True)
class RecordingTuned(RecordingEngine):
    """Records what the tuned model is asked, too."""

    asked: list[RecordingLLM] = field(default_factory=list)
    quick: list[bool] = field(default_factory=list)

    def tuned(self, directory: Path, *, max_text_tokens: int, layers: int | None = None, quick: bool = False) -> LLM:
        inner = super().tuned(directory, max_text_tokens=max_text_tokens, layers=layers, quick=quick)
        self.quick.append(quick)
        self.asked.append(RecordingLLM(inner))  # type: ignore[arg-type]
        return self.asked[-1]


def job(*overrides: str, seed: int = 0) -> Job:
    return job_of(two_label_task(), RecordingTuned(), *overrides, seed=seed)


def test_in_context_nothing_is_tuned(tmp_path: Path) -> None:
    own = job("filter.judge=in_context", "filter.cross_fit=true")
    with open_run(tmp_path / "run", MANIFEST) as run:
        files = tune_judge(own, 0, run, Listener())
        scores = open_judge(own, 0, files)(CANDIDATES)
    assert files == {}
    engine = own.engine
    assert isinstance(engine, RecordingTuned)
    assert not engine.trained
    assert not engine.asked
    assert [score.candidate_id for score in scores] == [c.id for c in CANDIDATES]
    folds = split_folds(own.task, 0, cross_fit=True)
    ((prompts),) = engine.recorder.scored
    for candidate, prompt in zip(CANDIDATES, prompts, strict=True):
        pieces = [segment.text for segment in prompt.prefix]
        assert not any(f" {example.text}" in pieces for example in folds[candidate.fold])
        assert all(f" {example.text}" in pieces for example in folds[1 - candidate.fold])


def test_a_tuned_judge_is_shown_half_of_the_examples(tmp_path: Path) -> None:
    own = job("filter.judge=tuned", "filter.judge_epochs=3", "filter.cross_fit=true")
    listener = Listener()
    with open_run(tmp_path / "run", MANIFEST) as run:
        files = tune_judge(own, 0, run, listener)
        scores = open_judge(own, 0, files)(CANDIDATES)
    engine = own.engine
    assert isinstance(engine, RecordingTuned)
    assert engine.trained == [6]
    assert listener.stages == ["tune judge 1"]
    assert not engine.recorder.scored
    assert engine.quick == [True]  # as it was tuned, not as a classifier answers
    (tuned,) = engine.asked
    ((prompts),) = tuned.scored
    assert len(scores) == len(prompts) == len(CANDIDATES)
    (prefix,) = {prompt.prefix for prompt in prompts}
    shown = [e.label for e in own.task.examples if f" {e.text}" in [segment.text for segment in prefix]]
    assert shown == ["good", "good", "bad", "bad"]


def test_an_interrupted_tuning_goes_on_and_a_finished_one_is_not_done_again(tmp_path: Path) -> None:
    own = job("filter.judge=tuned", "filter.judge_epochs=3")
    engine = own.engine
    assert isinstance(engine, RecordingTuned)
    with open_run(tmp_path / "run", MANIFEST) as run:
        with pytest.raises(Interrupted):
            tune_judge(own, 0, run, Listener(stop_at=4))
        files = tune_judge(own, 0, run, Listener())
        assert engine.trained == [4, 2]
        assert tune_judge(own, 0, run, Listener()) == files
        assert engine.trained == [4, 2, 0]
        dismiss_judges(own, run)
        assert not list((run.directory / "steps").glob("*checkpoint*"))
    with open_run(tmp_path / "whole", MANIFEST) as run:
        assert tune_judge(own, 0, run, Listener()) == files
        assert tune_judge(own, 1, run, Listener()) != files
        assert tune_judge(job("filter.judge=tuned", "filter.judge_epochs=3", seed=1), 0, run, Listener()) != files


def test_what_a_judge_is_shown() -> None:
    folds = split_folds(two_label_task(), 3, cross_fit=True)
    crossed = ("filter.judge=in_context", "filter.cross_fit=true")
    in_context = judge_demonstrations(job(*crossed, seed=3), 0)
    assert [set(shown) for shown in in_context] == [set(folds[1]), set(folds[0])]
    other = judge_demonstrations(job(*crossed, seed=3), 1)
    assert other != in_context
    assert [set(shown) for shown in other] == [set(shown) for shown in in_context]
    assert [len(shown) for shown in judge_demonstrations(job("filter.judge=in_context", seed=3), 0)] == [8]
    tuned = judge_demonstrations(job("filter.judge=tuned", "filter.cross_fit=true", seed=3), 0)
    assert tuned[0] == tuned[1]
    assert len(tuned[0]) == 4
    halves = [judge_demonstrations(job("filter.judge=tuned", seed=3), index) for index in range(6)]
    assert halves[0] == tuned[:1]
    assert len({frozenset(half[0]) for half in halves}) > 3


def test_what_judges_say_together() -> None:
    rows = np.log([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.6, 0.4]]])
    of_judges = [[LabelScores(str(i), tuple(row)) for i, row in enumerate(own)] for own in rows]
    together = joint_scores(of_judges)
    assert [score.candidate_id for score in together] == ["0", "1"]
    assert np.exp([score.log_probs for score in together]) == pytest.approx(np.array([[0.7, 0.3], [0.4, 0.6]]))
    assert joint_scores(of_judges[:1]) == of_judges[0]
    assert joint_scores([[], []]) == []
    # A judge that is certain of the impossible leaves the others their say.
    sure = [LabelScores("0", (0.0, -2000.0))]
    assert np.exp(joint_scores([sure, sure])[0].log_probs) == pytest.approx([1, 0], abs=1e-9)
