from __future__ import annotations

import builtins
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handful.errors import ModelError
from handful.llm.scripted import ScriptedLLM
from handful.peers.encoders import encoder_identity
from handful.peers.fitting import FittedPeer, Peer, check_peer, fit_peer
from handful.recipe import PromptRecipe
from handful.task import Task
from tests.toys import two_label_task


def fit(peer: Peer, task: Task, encoder: str | None = None) -> FittedPeer:
    return fit_peer(peer, task, seed=0, llm=ScriptedLLM, prompt=PromptRecipe(), encoder=encoder)


def fitted(peer: Peer, task: Task) -> np.ndarray:
    found = fit(peer, task)
    log_probs = found.log_probs([example.text for example in task.test or ()])
    assert np.allclose(np.exp(log_probs).sum(axis=1), 1)
    return log_probs


@pytest.mark.parametrize("peer", ["tfidf", "llm_probe"])
def test_a_peer_learns_the_words_of_its_examples(peer: Peer) -> None:
    task = two_label_task()
    assert [task.label_names[i] for i in fitted(peer, task).argmax(axis=1)] == [e.label for e in task.test or ()]


@pytest.mark.parametrize("peer", ["encoder_probe", "setfit"])
def test_sentence_encoders_tell_good_films_from_bad(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_examples_without_words_leave_every_label_as_likely_as_it_is_frequent() -> None:
    task = Task.create(
        "faces", ["good", "bad"], [("\U0001f600", "good"), ("\U0001f620", "bad")], test=[("\U0001f600", "good")]
    )
    assert np.allclose(np.exp(fitted("tfidf", task)), 0.5)


def test_only_a_probe_of_the_llm_reads_a_prompt() -> None:
    task = two_label_task()
    texts = ["one two three"]
    assert fit("tfidf", task).prompt_tokens(texts) == 0
    probe = fit("llm_probe", task)
    assert probe.prompt_tokens(texts) > 3


def test_progress_hears_of_all_texts() -> None:
    task, counts = two_label_task(), list[int]()
    fit("tfidf", task).log_probs(["a", "b"], on_progress=counts.append)
    assert counts == [2]


def test_an_encoder_is_known_by_what_its_files_hold(tmp_path: Path) -> None:
    assert encoder_identity(None) is None
    assert encoder_identity("org/name") == "org/name"
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = encoder_identity(str(tmp_path))
    assert encoder_identity(str(tmp_path)) == before
    (tmp_path / "model.safetensors").write_bytes(b"other")
    assert encoder_identity(str(tmp_path)) != before


def test_what_is_missing_is_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for peer in ("llm_probe", "encoder_probe", "setfit", "tfidf"):
        check_peer(peer, None)
    check_peer("setfit", "org/name")
    with pytest.raises(ModelError, match=r"no such directory: './nowhere'"):
        check_peer("setfit", "./nowhere")
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "setfit" else found(name))
    with pytest.raises(ModelError, match=r"setfit needs the package setfit. Install it with"):
        check_peer("setfit", None)
    check_peer("encoder_probe", None)


def test_an_encoder_that_is_not_there_is_named() -> None:
    task = two_label_task()
    with pytest.raises(ModelError, match="encoder cannot be loaded"):
        fit("encoder_probe", task, "/nowhere/at/all")


@pytest.mark.parametrize(("peer", "package"), [("tfidf", "sklearn"), ("llm_probe", "sklearn"), ("setfit", "setfit")])
def test_a_missing_package_is_named_with_how_to_get_it(
    peer: Peer, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("handful.peers.") and not name.endswith("fitting")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("handful.peers.features", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("builtins.__import__", _without(package))
    with pytest.raises(ModelError, match=rf"{peer} needs the package {package}.*handful\[peers\]"):
        fit(peer, two_label_task())


def _without(package: str) -> Callable[..., Any]:
    real = builtins.__import__

    def importing(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        return real(name, *rest, **named)

    return importing
