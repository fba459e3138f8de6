"""What the cost is measured against: texts, labels, demonstrations, N and text length, each alone."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.machine import ROOT
from benchmarks.speed.settings import Settings
from benchmarks.speed.texts import SEED, few_shot_task, texts
from handful.classifier import Classifier
from handful.classifier_files import classifier_spec
from handful.demonstrations import in_random_order, judge_examples, split_folds
from handful.filter import judge_candidates
from handful.generate import Batch, generate_candidates
from handful.llm.loading import LoadedModel, load_model
from handful.llm.local import LocalLLM
from handful.paper_sets import load_paper_set
from handful.recipe import PRESETS
from handful.task import Task

_TEXTS = 64
_RECIPE = PRESETS["default"]
_WRITTEN_AT_ONCE = 192
"""As `rounds.py` writes them."""


@dataclass(frozen=True)
class Axis:
    """One thing that grows."""

    name: str
    unit: str
    """What the sizes count."""
    cost: str
    """What the seconds are of."""
    sizes: tuple[int, ...]
    run: Callable[[int], float]
    """Seconds at a size; preparations are not in them."""
    must_be_linear: bool = False
    """Whether it may not grow faster than linearly."""


def classifier_of(task: Task, loaded: LoadedModel, shots: int = 0) -> Classifier:
    """Return an untuned classifier: a merged adapter changes no cost."""
    shown = in_random_order(task.sample(shots, SEED).examples, SEED, "growth") if shots else ()
    spec = classifier_spec(
        task,
        _RECIPE,
        base_model=loaded.name,
        base_model_fingerprint=loaded.fingerprint,
        demonstrations=shown,
    )
    return Classifier(LocalLLM(loaded, max_text_tokens=spec.max_text_tokens), spec)


def axes(settings: Settings, real: LoadedModel, tiny: LoadedModel) -> list[Axis]:
    """Return every axis of a real model, and that of texts with a tiny one too."""

    def cut(sizes: tuple[int, ...]) -> tuple[int, ...]:
        # An exponent takes two sizes above 0.
        return tuple(size for size in sizes if size)[:2] if settings.quick else sizes

    return [
        Axis(
            "texts, tiny model",
            "texts",
            "classifying them, a model of 2 layers of width 32",
            cut((100, 1_000, 10_000, 100_000)),
            lambda size: _classify(classifier_of(few_shot_task("trec"), tiny), texts("trec", size)),
            must_be_linear=True,
        ),
        Axis(
            "texts",
            "texts",
            "classifying them, SmolLM2-135M",
            cut((100, 300, 1_000, 3_000)),
            lambda size: _classify(classifier_of(few_shot_task("trec"), real), texts("trec", size)),
            must_be_linear=True,
        ),
        Axis(
            "labels",
            "labels",
            f"classifying {_TEXTS} texts, two-word labels",
            cut((2, 6, 20, 77)),
            lambda size: _labels(real, size, settings),
        ),
        Axis(
            "demonstrations",
            "per class",
            f"classifying {_TEXTS} texts, their prefix computed anew",
            cut((0, 1, 2, 4, 8, 16)),
            lambda size: _demonstrations(real, size, settings),
        ),
        Axis(
            "N",
            "synthetic texts per label",
            "writing and checking two candidates for each, six labels",
            cut((5, 10, 20, 40, 80)),
            lambda size: _write_and_check(real, size),
            must_be_linear=True,
        ),
        Axis(
            "text length",
            "tokens",
            f"classifying {_TEXTS // 2} texts",
            cut((8, 16, 32, 64, 128, 256, 512)),
            lambda size: _lengths(real, size, settings),
        ),
    ]


def tiny_model() -> LoadedModel:
    """Return the model the tests are run with, loaded."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    from tests.tiny import make_tiny_model

    with tempfile.TemporaryDirectory() as folder:
        return load_model(str(make_tiny_model(Path(folder) / "tiny")), device="cpu")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _classify(classifier: Classifier, read: list[str]) -> float:
    classifier.log_probs(read[:4])
    return _seconds(lambda: [classifier.log_probs(read[at : at + 1024]) for at in range(0, len(read), 1024)])


def _labels(loaded: LoadedModel, count: int, settings: Settings) -> float:
    words = Counter(word for text in texts("trec", 2_000) for word in text.lower().split() if word.isalpha())
    common = [word for word, _ in words.most_common(2 * count + 60) if len(word) > 3][: 2 * count]
    names = [f"{a} {b}" for a, b in zip(common[::2], common[1::2], strict=True)]
    task = Task.create("labels", names, [(f"text {name}", name) for name in names])
    return _classify(classifier_of(task, loaded), texts("trec", settings.count(_TEXTS)))


def _demonstrations(loaded: LoadedModel, shots: int, settings: Settings) -> float:
    task = dataclasses.replace(load_paper_set("trec"), test=None)
    classifier = classifier_of(task, loaded, shots)
    return _seconds(lambda: classifier.log_probs(texts("trec", settings.count(_TEXTS))))


def _lengths(loaded: LoadedModel, length: int, settings: Settings) -> float:
    words = " ".join(texts("ag_news", 400)).split()
    count = settings.count(_TEXTS // 2)
    llm = LocalLLM(loaded)
    read = []
    for index in range(count):
        text = " ".join(words[index * 37 : index * 37 + length])
        # A token is at most a word here, so that one cut makes it exact up to a word.
        while llm.count_tokens([f" {text}"])[0] > length:
            text = text.rpartition(" ")[0]
        read.append(text)
    return _classify(classifier_of(few_shot_task("ag_news"), loaded), read)


def _write_and_check(loaded: LoadedModel, per_label: int) -> float:
    """Write two candidates for each text to keep, as an acceptance rate of one half needs, and check them."""
    task, size = few_shot_task("trec"), _RECIPE.generate.batch_size
    folds = split_folds(task, SEED, cross_fit=True)
    shown = [judge_examples(folds, fold, SEED) for fold in (0, 1)]
    batches = []
    for label in task.label_names:
        for index, start in enumerate(range(0, 2 * per_label, size)):
            batches.append(Batch(0, label, index, index % 2, min(size, 2 * per_label - start)))
    llm = LocalLLM(loaded)

    def work() -> None:
        group: list[Batch] = []
        for batch in [*batches, None]:
            full = sum(b.n_candidates for b in group) + (batch.n_candidates if batch else _WRITTEN_AT_ONCE + 1)
            if group and full > _WRITTEN_AT_ONCE:
                candidates = generate_candidates(llm, task, _RECIPE, group, folds, SEED)
                judge_candidates(llm, task, _RECIPE, candidates, shown)
                group = []
            if batch:
                group.append(batch)

    return _seconds(work)
