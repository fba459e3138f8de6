from pathlib import Path

import numpy as np
import pytest

from handful.errors import AdapterError, Interrupted
from handful.llm.protocol import Sampling
from handful.llm.scripted import ScriptedLLM, train_script, tuned_script
from handful.prompts import classification_prefix, classification_prompt, generation_prompt, targets
from handful.recipe import PromptRecipe, TrainRecipe
from handful.training_plan import TrainingPlan
from handful.training_set import real_rows
from tests.toys import MemoryStore, small_recipe, two_label_task

TASK = two_label_task()


def plan() -> TrainingPlan:
    rows = tuple(real_rows(TASK, small_recipe()))
    train = TrainRecipe(batch_size=3, epochs=2, min_steps=0)
    return TrainingPlan(classification_prefix(TASK), targets(TASK), TASK.label_names, rows, train, PromptRecipe(), 0)


def test_a_line_depends_on_its_seed_alone() -> None:
    prompt, llm = generation_prompt(TASK, "good", TASK.examples[:2]), ScriptedLLM()
    sampling = Sampling(12)
    together = llm.generate(prompt, [5, 6, 7, 8], sampling)
    assert [llm.generate(prompt, [seed], sampling)[0] for seed in (8, 7, 6, 5)] == together[::-1]
    assert len({g.text for g in together}) == 4
    assert all(g.n_tokens <= 12 for g in together)


def test_scores_follow_the_demonstrations_and_not_the_batch() -> None:
    prefix, llm = classification_prefix(TASK, TASK.examples), ScriptedLLM()
    prompts = [classification_prompt(prefix, e.text) for e in TASK.examples]
    scores = llm.score(prompts, targets(TASK))
    assert np.exp(scores).sum(axis=1) == pytest.approx(np.ones(len(prompts)))
    right = [TASK.label_names[i] == e.label for i, e in zip(scores.argmax(axis=1), TASK.examples, strict=True)]
    assert sum(right) >= 6
    assert llm.score(prompts[3:4], targets(TASK)) == pytest.approx(scores[3:4])
    assert llm.score([], targets(TASK)).shape == (0, 2)


def test_training_learns_and_resumes_with_the_same_bytes(tmp_path: Path) -> None:
    whole = train_script(plan(), MemoryStore(), lambda step, n, loss: False)
    for stop_at in range(1, plan().n_steps):
        store = MemoryStore()
        with pytest.raises(Interrupted, match=f"after step {stop_at} of {plan().n_steps}"):
            train_script(plan(), store, lambda step, n, loss, at=stop_at: step == at)  # type: ignore[misc]
        assert train_script(plan(), store, lambda step, n, loss: False) == whole
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
    tuned = tuned_script(tmp_path)
    prompts = [
        classification_prompt(classification_prefix(TASK), text) for text in ("lovely warm funny", "dull boring")
    ]
    assert tuned.score(prompts, targets(TASK)).argmax(axis=1).tolist() == [0, 1]


def test_a_foreign_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="not an adapter of the scripted model"):
        tuned_script(tmp_path)
