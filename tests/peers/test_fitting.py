from __future__ import annotations

import numpy as np
import pytest

from handful.errors import ModelError
from handful.llm.scripted import ScriptedLLM
from handful.peers.fitting import Peer, fit_peer
from handful.task import Task
from tests.toys import two_label_task


def fitted(peer: Peer, task: Task, **settings: object) -> np.ndarray:
    found = fit_peer(peer, task, task.examples, seed=0, llm=ScriptedLLM, **settings)  # type: ignore[arg-type]
    log_probs = found.log_probs([example.text for example in task.test or ()])
    assert np.allclose(np.exp(log_probs).sum(axis=1), 1)
    return log_probs


@pytest.mark.parametrize("peer", ["tfidf", "llm_probe"])
def test_a_peer_learns_the_words_of_its_examples(peer: Peer) -> None:
    task = two_label_task()
    assert [task.label_names[i] for i in fitted(peer, task).argmax(axis=1)] == [e.label for e in task.test or ()]


@pytest.mark.parametrize("peer", ["encoder_probe", "setfit"])
def test_sentence_encoders_tell_good_films_from_bad(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("setfit")
    task = two_label_task()
    log_probs = fitted(peer, task)
    assert [task.label_names[i] for i in log_probs.argmax(axis=1)] == [e.label for e in task.test or ()]
    assert np.array_equal(fitted(peer, task), log_probs)
    assert capsys.readouterr().out == ""


def test_labels_stand_in_the_order_of_the_task() -> None:
    task = two_label_task()
    turned = Task.create(
        "films", ["bad", "good"], [(e.text, e.label) for e in task.examples], test=[("lovely", "good")]
    )
    (row,) = fitted("tfidf", turned)
    assert turned.label_names == ("bad", "good")
    assert row[1] > row[0]


def test_only_a_probe_of_the_llm_reads_a_prompt() -> None:
    task = two_label_task()
    texts = ["one two three"]
    assert fit_peer("tfidf", task, task.examples, seed=0).prompt_tokens(texts) == 0
    probe = fit_peer("llm_probe", task, task.examples, seed=0, llm=ScriptedLLM)
    assert probe.prompt_tokens(texts) > 3


def test_progress_hears_of_all_texts() -> None:
    task, counts = two_label_task(), list[int]()
    fit_peer("tfidf", task, task.examples, seed=0).log_probs(["a", "b"], on_progress=counts.append)
    assert counts == [2]


def test_an_encoder_that_is_not_there_is_named() -> None:
    pytest.importorskip("setfit")
    task = two_label_task()
    with pytest.raises(ModelError, match="encoder cannot be loaded"):
        fit_peer("encoder_probe", task, task.examples, seed=0, encoder="/nowhere/at/all")
