from __future__ import annotations

import dataclasses
import functools
import itertools
import weakref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from handful.errors import Interrupted
from handful.generate import Batch
from handful.judge import tune_judge
from handful.llm.protocol import LLM
from handful.records import Candidate
from handful.rounds import judge_round, write_round
from handful.run import open_run
from handful.training_plan import CheckpointStore, TrainingPlan
from tests.toys import Listener, RecordingEngine, RecordingLLM, job_of, two_label_task

MANIFEST: dict[str, dict[str, str]] = {"identity": {}, "environment": {}}
BATCHES = [Batch(0, label, index, index % 2, 8) for label in ("good", "bad") for index in range(15)]


def in_context(index: int) -> dict[str, bytes]:
    """What `tune_judge` returns for a judge in context."""
    return {}


def test_writing_keeps_the_plan_and_its_order(tmp_path: Path) -> None:
    engine, listener = RecordingEngine(), Listener()
    with open_run(tmp_path / "run", MANIFEST) as run:
        candidates, _ = write_round(job_of(two_label_task(), engine, "filter.cross_fit=true"), run, BATCHES, listener)
    expected = [f"0-{label}-{index * 8 + i}" for label in (0, 1) for index in range(15) for i in range(8)]
    assert [c.id for c in candidates] == expected
    assert listener.advanced == 240
    assert listener.stages == ["write, round 1"]
    assert len(engine.recorder.generated) > 1


@pytest.mark.parametrize(("characters", "most"), [(10, 192), (1_000, 96), (90_000, 8)])
def test_long_texts_are_written_fewer_at_once(tmp_path: Path, characters: int, most: int) -> None:
    engine, short = RecordingEngine(), two_label_task()
    long = [dataclasses.replace(example, text=example.text.ljust(characters, "x")) for example in short.examples]
    with open_run(tmp_path / "run", MANIFEST) as run:
        write_round(
            job_of(dataclasses.replace(short, examples=tuple(long)), engine, "filter.cross_fit=true"),
            run,
            BATCHES,
            Listener(),
        )
    assert max(len(seeds) for _, seeds, _ in engine.recorder.generated) == most


def test_an_interrupted_round_goes_on_where_it_stopped(tmp_path: Path) -> None:
    engine = RecordingEngine()
    job = job_of(two_label_task(), engine, "filter.cross_fit=true")
    with open_run(tmp_path / "run", MANIFEST) as run:
        with pytest.raises(Interrupted, match="everything finished so far is saved"):
            write_round(job, run, BATCHES, Listener(stop_at=2))
        written = len(engine.recorder.generated)
        assert written == 1
        resumed = write_round(job, run, BATCHES, Listener())
        assert len({seed for _, seeds, _ in engine.recorder.generated for seed in seeds}) == 240
        assert sum(len(seeds) for _, seeds, _ in engine.recorder.generated) == 240
    with open_run(tmp_path / "whole", MANIFEST) as run:
        assert write_round(job, run, BATCHES, Listener()) == resumed


def test_judging_scores_every_candidate_once(tmp_path: Path) -> None:
    engine, listener = RecordingEngine(), Listener()
    job = job_of(two_label_task(), engine, "filter.judge=in_context", "filter.judges=1", "filter.cross_fit=true")
    candidates = [Candidate(f"0-0-{i}", f"text {i}", "good", i, "p", i % 2) for i in range(150)]
    with open_run(tmp_path / "run", MANIFEST) as run:
        scores = judge_round(job, run, 0, candidates, in_context, listener)
        calls = len(engine.recorder.scored)
        assert judge_round(job, run, 0, candidates, in_context, Listener()) == scores
        counted = [dataclasses.replace(candidate, n_tokens=9) for candidate in candidates]
        assert judge_round(job, run, 0, counted, in_context, Listener()) == scores
        assert len(engine.recorder.scored) == calls  # those of a run that did not count tokens are not judged anew
        # Other texts under the same ids are other inputs.
        changed = [Candidate(c.id, c.text + "!", c.intended_label, c.seed, c.prompt_id, c.fold) for c in candidates]
        assert judge_round(job, run, 0, changed, in_context, Listener()) != scores
    assert sorted(s.candidate_id for s in scores) == sorted(c.id for c in candidates)
    assert listener.advanced == 150
    assert all(len(s.log_probs) == 2 for s in scores)
    # Those of one fold share a prompt prefix, and stand together.
    prefixes = [prompt.prefix for prompts in engine.recorder.scored[:calls] for prompt in prompts]
    assert sum(a != b for a, b in itertools.pairwise(prefixes)) == 1


def test_judging_stops_between_pieces_and_goes_on(tmp_path: Path) -> None:
    engine = RecordingEngine()
    job = job_of(two_label_task(), engine, "filter.judge=in_context", "filter.judges=1", "filter.cross_fit=true")
    candidates = [Candidate(f"0-0-{i}", f"text {i}", "good", i, "p") for i in range(150)]
    with open_run(tmp_path / "run", MANIFEST) as run:
        with pytest.raises(Interrupted):
            judge_round(job, run, 0, candidates, in_context, Listener(stop_at=2))
        assert 0 < sum(map(len, engine.recorder.scored)) < 150
        assert len(judge_round(job, run, 0, candidates, in_context, Listener())) == 150
    assert sum(map(len, engine.recorder.scored)) == 150


def test_a_round_without_candidates_to_judge(tmp_path: Path) -> None:
    engine = RecordingEngine()
    with open_run(tmp_path / "run", MANIFEST) as run:
        job = job_of(two_label_task(), engine, "filter.judge=in_context")
        assert judge_round(job, run, 0, [], in_context, Listener()) == []
    assert engine.calls == 0


def test_with_suppression_a_label_has_one_batch_at_a_time(tmp_path: Path) -> None:
    engine = RecordingEngine()
    job = job_of(two_label_task(), engine, "generate.logit_suppression=1")
    batches = [Batch(0, label, index, 0, 8) for label in ("good", "bad") for index in range(3)]
    with open_run(tmp_path / "run", MANIFEST) as run:
        first, _ = write_round(job, run, batches, Listener())
        again, _ = write_round(job, run, batches, Listener())
        after_others, _ = write_round(job, run, batches, Listener(), [Candidate("9-0-0", "lovely", "good", 0, "p")])
    assert [len(seeds) for _, seeds, _ in engine.recorder.generated] == [16] * 6
    assert again == first
    assert "lovely" in " ".join(c.text for c in first if c.intended_label == "good")
    assert "lovely" not in " ".join(c.text for c in after_others if c.intended_label == "good")


def test_the_llm_is_asked_for_topics_once(tmp_path: Path) -> None:
    engine = RecordingEngine()
    job = job_of(
        two_label_task(), engine, "generate.attributes=llm", "generate.attribute_values=2", "filter.cross_fit=true"
    )
    with open_run(tmp_path / "run", MANIFEST) as run:
        write_round(job, run, BATCHES[:1], Listener())
        write_round(job, run, BATCHES[1:2], Listener())
    asked = [prompts for prompts, _, _ in engine.recorder.generated if "Different topics" in str(prompts[0].prefix[0])]
    assert len(asked) == 1
    assert len(asked[0]) == 2 * 2 * 4


def test_several_judges_are_tuned_one_by_one_and_heard_together(tmp_path: Path) -> None:
    engine, listener = RecordingEngine(), Listener()
    job = job_of(two_label_task(), engine, "filter.judges=2", "filter.judge_epochs=2", "filter.cross_fit=true")
    candidates = [Candidate(f"0-0-{i}", f"lovely {i}", "good", i, "p", i % 2) for i in range(10)]
    with open_run(tmp_path / "run", MANIFEST) as run:
        adapter_of = functools.cache(lambda index: tune_judge(job, index, run, listener))
        scores = judge_round(job, run, 0, candidates, adapter_of, listener)
        stages = ["tune judge 1", "check, round 1, judge 1", "tune judge 2", "check, round 1, judge 2"]
        assert listener.stages == stages
        assert engine.trained == [4, 4]
        again = judge_round(job, run, 0, candidates, lambda index: pytest.fail("on disk"), Listener())
    assert again == scores
    assert [score.candidate_id for score in scores] == [c.id for c in sorted(candidates, key=lambda c: c.fold)]
    for score in scores:
        assert np.exp(score.log_probs).sum() == pytest.approx(1)


@dataclass(frozen=True)
class CountingEngine(RecordingEngine):
    """Knows how many tuned models are alive when the next one is trained."""

    opened: list[weakref.ref[RecordingLLM]] = field(default_factory=list)
    alive_at_training: list[int] = field(default_factory=list)

    def train(self, plan: TrainingPlan, checkpoints: CheckpointStore, on_step: object) -> dict[str, bytes]:
        self.alive_at_training.append(sum(model() is not None for model in self.opened))
        return super().train(plan, checkpoints, on_step)

    def tuned(self, directory: Path, *, max_text_tokens: int, layers: int | None = None, quick: bool = False) -> LLM:
        model = RecordingLLM()
        self.opened.append(weakref.ref(model))
        return model


def test_a_judges_model_is_let_go_of_before_the_next_one_is_tuned(tmp_path: Path) -> None:
    engine = CountingEngine()
    job = job_of(two_label_task(), engine, "filter.judges=3", "filter.judge_epochs=1")
    candidates = [Candidate(f"0-0-{i}", f"lovely {i}", "good", i, "p") for i in range(4)]
    with open_run(tmp_path / "run", MANIFEST) as run:
        judge_round(job, run, 0, candidates, lambda index: tune_judge(job, index, run, Listener()), Listener())
    assert len(engine.opened) == 3
    assert set(engine.alive_at_training) == {0}
