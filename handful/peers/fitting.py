"""Examples in, something that scores labels out: the peers by name, behind one face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from handful.calibration import FloatArray
from handful.errors import ModelError
from handful.llm.protocol import LLM, OnProgress, ReadsStates
from handful.prompts import classification_prefix, classification_prompt
from handful.recipe import PromptRecipe
from handful.records import Example
from handful.task import Task

Peer = Literal["llm_probe", "encoder_probe", "setfit", "tfidf"]
Scorer = Callable[[Sequence[str]], FloatArray]
"""Texts -> label log-probabilities in nats, shape (n_texts, n_labels)."""


@dataclass(frozen=True)
class FittedPeer:
    """A fitted peer with the face of a `Classifier`, as far as measuring needs it."""

    score: Scorer
    llm: LLM | None = None
    prompt_format: Literal["plain", "chat"] = "plain"
    task: Task | None = None

    def log_probs(self, texts: Sequence[str], *, on_progress: OnProgress | None = None) -> FloatArray:
        """Return label log-probabilities in nats, shape (n_texts, n_labels)."""
        scores = self.score(texts)
        if on_progress is not None:
            on_progress(len(texts))
        return scores

    def prompt_tokens(self, texts: Sequence[str]) -> float:
        """Return the mean prompt length in tokens; 0 where no LLM reads a prompt."""
        if self.llm is None or self.task is None or not texts:
            return 0.0
        prefix = classification_prefix(self.task)
        lengths = [self.llm.prompt_tokens(classification_prompt(prefix, t, self.prompt_format))[0] for t in texts]
        return float(np.mean(lengths))


def fit_peer(
    peer: Peer,
    task: Task,
    examples: Sequence[Example],
    *,
    seed: int,
    encoder: str | None = None,
    llm: Callable[[], LLM] | None = None,
    prompt: PromptRecipe | None = None,
) -> FittedPeer:
    """Fit a peer.

    Args:
        peer: Which.
        task: Labels, and for `llm_probe` the instruction.
        examples: What to fit on: at least one example of every label.
        seed: Of what is random in it.
        encoder: Sentence encoder of `encoder_probe` and `setfit`: a directory or hub name; None is MiniLM, packaged.
        llm: Gives the base model of `llm_probe`.
        prompt: Layout of its prompt.

    Raises:
        ModelError: A package or the encoder is missing.
    """
    if peer == "llm_probe":
        assert llm is not None
        return _llm_probe(task, examples, llm(), prompt or PromptRecipe())
    try:
        from handful.peers import encoders, features
    except ImportError as error:
        mend = "Install it with: pip install 'handful[peers]'."
        raise ModelError(f"{peer} needs the package {error.name}", where="--methods", mend=mend) from None
    if peer == "tfidf":
        return FittedPeer(features.fit_tfidf(examples, task.label_names))
    if peer == "encoder_probe":
        encode = encoders.open_encoder(encoder)
        return FittedPeer(features.fit_probe(encode, examples, task.label_names))
    return FittedPeer(encoders.fit_setfit(encoder, examples, task.label_names, seed))


def _llm_probe(task: Task, examples: Sequence[Example], llm: LLM, prompt: PromptRecipe) -> FittedPeer:
    from handful.peers.features import fit_probe

    if not isinstance(llm, ReadsStates):
        raise ModelError(f"{llm.name} does not give its hidden states", where="--methods", mend="Leave llm_probe out.")
    reader = llm
    prefix = classification_prefix(task)

    def states(texts: Sequence[str]) -> FloatArray:
        return reader.states([classification_prompt(prefix, text, prompt.format) for text in texts])

    return FittedPeer(fit_probe(states, examples, task.label_names), llm, prompt.format, task)
