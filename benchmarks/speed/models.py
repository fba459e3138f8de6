"""The model, and our classifiers: tuned once per set and commit, loaded as a user would."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.progress import say
from benchmarks.speed.settings import Settings
from benchmarks.speed.texts import SEED, few_shot_task
from handful.classifier import Classifier
from handful.classifier_files import classifier_spec
from handful.job import Job
from handful.llm.adapters import with_adapter
from handful.llm.engine import open_engine
from handful.llm.loading import LoadedModel, load_model
from handful.llm.local import LocalLLM
from handful.llm.protocol import Precision
from handful.llm.sources import PACKAGED
from handful.progress import Silent
from handful.recipe import PRESETS
from handful.recipe_file import load_recipe
from handful.records import Example
from handful.run import open_run
from handful.training_set import real_rows
from handful.tuning import tune_classifier

MODEL = PACKAGED
_TUNING = ("train.min_steps=20", "train.epochs=1")
"""Enough that the adapter matters; how well it classifies is not measured here."""


@dataclass(frozen=True)
class Variant:
    """How our classifier is made and run: the one place where a faster one is described."""

    precision: Precision = "float32"
    """As `Classifier.load` takes it."""
    recipe_changes: tuple[str, ...] = ()
    """On top of recipe `fast`, as `--set` takes them."""


STANDARD = Variant()
FASTEST = Variant("bfloat16", ("train.layers=10",))
"""What SetFit is compared with: a third of the layers."""


def load_base() -> LoadedModel:
    """Return the base model as transformers runs it: float32, SDPA attention, evaluation mode."""
    return load_model(MODEL, device="cpu", dtype="float32")


def tuned_directory(name: str, variant: Variant, settings: Settings) -> Path:
    """Return the classifier directory of a set, tuned on its real examples at the first call of a commit."""
    changes = (*_TUNING, *variant.recipe_changes)
    key = hashlib.sha256(repr(changes).encode()).hexdigest()[:8]
    directory = settings.scratch / f"{name}-{key}"
    if not (directory / "adapter" / "handful.json").is_file():
        say(f"tuning a classifier for {name}")
    job = Job(few_shot_task(name), load_recipe("fast", changes), SEED, open_engine(MODEL, device="cpu"))
    with open_run(directory, {"identity": job.identity(), "environment": {}}) as run:
        return tune_classifier(job, real_rows(job.task, job.recipe), [], run, Silent())


def load_classifier(directory: Path, variant: Variant = STANDARD) -> Classifier:
    """Load a tuned classifier to run as the variant says, as a user would."""
    return Classifier.load(directory, device="cpu", precision=variant.precision)


def load_tuned(directory: Path) -> LoadedModel:
    """Load a tuned model as transformers runs it, the adapter merged."""
    return with_adapter(load_base(), directory)


def untuned_classifier(name: str, demonstrations: Sequence[Example]) -> Classifier:
    """Return our classifier of the base model with demonstrations in its prompt."""
    loaded = load_base()
    spec = classifier_spec(
        few_shot_task(name),
        PRESETS["default"],
        base_model=MODEL,
        base_model_fingerprint=loaded.fingerprint,
        demonstrations=demonstrations,
    )
    return Classifier(LocalLLM(loaded, max_text_tokens=spec.max_text_tokens, keep_model=False), spec)
