"""What an LLM is to handful: two verbs, `generate` and `score`; nothing above knows which engine answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from handful.prompts import Prompt

FloatArray = NDArray[np.float64]
Precision = Literal["float32", "bfloat16", "int8"]
"""What matrix products are computed in, on the CPU; everything between them stays float32."""
OnProgress = Callable[[int], None]
"""Called with the number of items just finished."""


@dataclass(frozen=True)
class Sampling:
    """How continuations are drawn: temperature, then top_k, then one draw (or beam-sampling)."""

    max_new_tokens: int
    temperature: float = 1.0
    top_k: int = 50
    """0 samples from the whole vocabulary."""
    num_beams: int = 1
    logit_suppression: float = 0.0
    """How much a content token's logit is lowered by its count in earlier texts; see `LLM.generate`."""


@dataclass(frozen=True)
class Generation:
    """One continuation, up to the end of the line."""

    text: str
    finished: bool
    """False when the token limit came first."""
    n_tokens: int


class LLM(Protocol):
    """A causal language model.

    Texts go in as `Prompt`s, whose shared prefix an engine should compute once. Results must not depend on how an
    engine batches: `generate` draws item i from `seeds[i]` alone.
    """

    @property
    def name(self) -> str:
        """How the user named the model."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identity of the weights; runs made with other weights are not mixed."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text by itself."""
        ...

    def prompt_tokens(self, prompt: Prompt, targets: Sequence[str] = ()) -> tuple[int, bool]:
        """Return a prompt's length in tokens, and whether its query was cut in its middle.

        Raises:
            ModelError: It does not fit the model, or not with what is read to score `targets` behind it.
        """
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        seeds: Sequence[int],
        sampling: Sampling,
        earlier: Sequence[Sequence[str]] | None = None,
    ) -> list[Generation]:
        """Sample one line for each prompt, each from its own seed; equal prompts share their computation.

        Args:
            prompts: What the model reads.
            seeds: One per prompt.
            sampling: How to draw.
            earlier: Per prompt the texts whose content tokens become less likely: the logit of a token that stands in
                them n times is lowered by `logit_suppression` log(1 + n) (after Chung et al. 2023, section 3.1).

        Raises:
            ModelError: A prompt does not fit the model.
        """
        ...

    def score(
        self, prompts: Sequence[Prompt], targets: Sequence[str], *, on_progress: OnProgress | None = None
    ) -> FloatArray:
        """Score every target after every prompt.

        The word-boundary space belongs to the target. The first token's probability is taken among the first tokens
        of all targets: the rest of the vocabulary cancels in any comparison of labels. The later ones' is taken among
        the whole vocabulary, of more than `label_trie.FEW_NODES` label tokens in all among those that targets go on
        with.

        Args:
            prompts: What the model reads; those with the same prefix share its computation.
            targets: Distinct, non-empty continuations, usually one per label.
            on_progress: Called with the number of prompts just scored.

        Returns:
            Summed token log-probabilities in nats, shape (n_prompts, n_targets).

        Raises:
            ModelError: A prompt does not fit the model even with its query cut.
        """
        ...


@runtime_checkable
class ReadsStates(Protocol):
    """An LLM in this process, whose hidden states can be had."""

    def states(self, prompts: Sequence[Prompt]) -> FloatArray:
        """Return the last layer's normed hidden state at the end of each prompt, shape (n_prompts, D).

        Raises:
            ModelError: A prompt does not fit the model even with its query cut.
        """
        ...
