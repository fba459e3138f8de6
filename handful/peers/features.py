"""Linear classifiers on fixed features: word counts, sentence embeddings, hidden states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from handful.calibration import FloatArray
from handful.peers.fitting import Scorer
from handful.records import Example

_MAX_ITERATIONS = 1000


def fit_tfidf(examples: Sequence[Example], labels: Sequence[str]) -> Scorer:
    """Fit logistic regression on TF-IDF of words and word pairs, scikit-learn's defaults otherwise."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    analyse = vectorizer.build_analyzer()
    if any(analyse(example.text) for example in examples):
        model = make_pipeline(vectorizer, LogisticRegression(max_iter=_MAX_ITERATIONS))
    else:  # emoji, or single characters: it has nothing to go by
        model = DummyClassifier(strategy="prior")
    return _fitted(model, None, examples, labels)


def fit_probe(
    features: Callable[[Sequence[str]], FloatArray],
    examples: Sequence[Example],
    labels: Sequence[str],
    *,
    standardise: bool,
) -> Scorer:
    """Fit logistic regression on features, (n_texts, D).

    Hidden states are better standardised; a sentence encoder's vectors, all of length 1, as they are
    (docs/experiments.md, 2026-11-26).
    """
    steps = [StandardScaler()] if standardise else []
    model = make_pipeline(*steps, LogisticRegression(max_iter=_MAX_ITERATIONS))
    return _fitted(model, features, examples, labels)


def _fitted(
    model: Any,
    features: Callable[[Sequence[str]], FloatArray] | None,
    examples: Sequence[Example],
    labels: Sequence[str],
) -> Scorer:
    def inputs(texts: Sequence[str]) -> Any:
        return list(texts) if features is None else features(texts)

    places = {label: index for index, label in enumerate(labels)}
    model.fit(inputs([example.text for example in examples]), [places[example.label] for example in examples])
    present = model.classes_.tolist()

    def score(texts: Sequence[str]) -> FloatArray:
        log_probs = np.full((len(texts), len(labels)), -np.inf)
        if len(texts):
            log_probs[:, present] = model.predict_log_proba(inputs(texts))
        scores: FloatArray = np.maximum(log_probs, -1e3)  # JSON has no infinity
        return scores

    return score
