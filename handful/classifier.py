"""The product: texts in, a label and a probability per label out, one forward pass each behind a cached prompt.

Zero-shot and in-context baselines are the same class with other prompts and no adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from handful.calibration import FloatArray, label_probabilities
from handful.classifier_files import ClassifierSpec, read_classifier
from handful.errors import ModelError
from handful.llm.engine import DeviceName, DtypeName, Engine, open_engine
from handful.llm.protocol import LLM, OnProgress, Precision
from handful.llm.sources import pinned
from handful.prompts import classification_prompt, one_line
from handful.records import Prediction
from handful.words import count_bytes

_CHUNK_TEXTS = 1024
"""Texts in memory at once when streaming; batches are sorted by length within a chunk."""
_CHUNK_CHARACTERS = 16_000_000
"""Of texts in memory at once: a chunk of very long ones ends earlier."""


class Classifier:
    """A prompt, the labels and an LLM that answers.

    Args:
        llm: Base model, with the adapter merged if there is one.
        spec: Prompt, labels and calibration.
    """

    def __init__(self, llm: LLM, spec: ClassifierSpec) -> None:
        self._llm = llm
        self.spec = spec

    @classmethod
    def load(
        cls,
        directory: str | Path,
        *,
        base_model: str | None = None,
        device: DeviceName = "auto",
        dtype: DtypeName = "auto",
        load_in_4bit: bool = False,
        precision: Precision = "float32",
    ) -> Classifier:
        """Load a classifier directory; the adapter is merged into the base model.

        Args:
            directory: What `Run.adapter_dir` or `handful run` made.
            base_model: Where the base model is now, if not where it was; its weights must be the same. Of the hub it
                is the commit that the classifier was made with.
            device: See `load_model`.
            dtype: See `load_model`.
            load_in_4bit: Quantise the base model; the adapter then stays beside it.
            precision: `bfloat16` and `int8` are faster on CPUs with instructions for them; `agreement` says what
                they cost.

        Raises:
            AdapterError: The directory is missing, damaged, or not a classifier.
            ModelError: The base model is missing or is another one.
        """
        spec = read_classifier(Path(directory))
        engine = open_engine(
            base_model or pinned(spec.base_model, spec.base_model_fingerprint),
            device=device,
            dtype=dtype,
            load_in_4bit=load_in_4bit,
            expected_fingerprint=spec.base_model_fingerprint,
            precision=precision,
        )
        try:
            engine.fingerprint()
        except ModelError as error:  # not where it was, or not to be asked for
            mend = "If the base model is elsewhere now, say where: --base-model, or base_model= in Python."
            raise ModelError(error.message, where=error.where, mend=f"{error.mend} {mend}") from error
        return cls.tuned_by(engine, directory, spec)

    @classmethod
    def tuned_by(cls, engine: Engine, directory: str | Path, spec: ClassifierSpec | None = None) -> Classifier:
        """Open a classifier directory with the engine of its base model.

        Args:
            engine: The base model; not checked to be the directory's.
            directory: Adapter files, and `handful.json` if no spec is given.
            spec: Prompt, labels and calibration, instead of the directory's.

        Raises:
            AdapterError: The directory is missing, damaged, or not a classifier.
        """
        directory = Path(directory)
        spec = spec or read_classifier(directory)
        return cls(engine.tuned(directory, max_text_tokens=spec.max_text_tokens, layers=spec.layers), spec)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self.spec.labels

    def predict(self, texts: Sequence[str]) -> list[str]:
        """Return the likeliest label of each text."""
        return [self.labels[index] for index in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Sequence[str], *, on_progress: OnProgress | None = None) -> FloatArray:
        """Return the probability of each label for each text.

        Args:
            texts: A list of texts; one string is refused, being a list of letters.
            on_progress: Called with the number of texts just done.

        Returns:
            Shape (n_texts, n_labels); rows sum to 1.

        Raises:
            TypeError: `texts` is a single string or holds something else than strings.
        """
        return label_probabilities(self.log_probs(texts, on_progress=on_progress), self.spec.shift)

    def log_probs(self, texts: Sequence[str], *, on_progress: OnProgress | None = None) -> FloatArray:
        """Return the uncalibrated label log-probabilities in nats, shape (n_texts, n_labels)."""
        if isinstance(texts, str):
            raise TypeError("texts must be a list of texts, not one string; write [text]")
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise TypeError(f"every text must be a string, got {type(wrong).__name__}")
        if not len(texts):
            return np.empty((0, len(self.labels)))
        prompts = [classification_prompt(self.spec.prefix, text, self.spec.format) for text in texts]
        return self._llm.score(prompts, self.spec.targets, on_progress=on_progress)

    def agreement(self, other: Classifier, texts: Sequence[str]) -> float:
        """Return the share of texts, at least one, that another classifier gives the same label."""
        return float(np.mean([a == b for a, b in zip(self.predict(texts), other.predict(texts), strict=True)]))

    def predict_stream(
        self, rows: Iterable[tuple[str, str]], *, on_progress: OnProgress | None = None
    ) -> Iterator[list[Prediction]]:
        """Classify (id, text) pairs in chunks, in their order, holding one chunk in memory at a time.

        Yields:
            The predictions of each chunk.
        """
        for chunk in _chunks(rows):
            probabilities = self.predict_proba([text for _, text in chunk], on_progress=on_progress)
            yield [
                Prediction(
                    text_id=text_id,
                    label=self.labels[int(row.argmax())],
                    probabilities=dict(zip(self.labels, map(float, row), strict=True)),
                    cut=self.is_cut(text),
                )
                for (text_id, text), row in zip(chunk, probabilities, strict=True)
            ]

    def is_cut(self, text: str) -> bool:
        """Return whether a text is too long and its middle is left out."""
        line = one_line(text)
        # A token spells at least one byte: most texts are known to fit without encoding them again.
        if count_bytes(line) < self.spec.max_text_tokens:
            return False
        return self._llm.prompt_tokens(classification_prompt(self.spec.prefix, line, self.spec.format))[1]

    def prompt_tokens(self, texts: Sequence[str]) -> float:
        """Return the mean prompt length over some texts, in tokens."""
        prompts = [classification_prompt(self.spec.prefix, text, self.spec.format) for text in texts]
        return float(np.mean([self._llm.prompt_tokens(prompt)[0] for prompt in prompts])) if prompts else 0.0


def _chunks(rows: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    chunk: list[tuple[str, str]] = []
    characters = 0
    for row in rows:
        chunk.append(row)
        characters += len(row[1])
        if len(chunk) == _CHUNK_TEXTS or characters >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
