"""One base model as the pipeline sees it: an LLM to ask, something to tune, and the tuned LLM to ask.

Heavy imports happen when a model is wanted, so a run whose stages are all on disk never loads one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from handful.encoding import ControlTokens, control_tokens
from handful.llm.protocol import LLM, Precision
from handful.llm.scripted import NAME as SCRIPTED
from handful.llm.scripted import ScriptedLLM, train_script, tuned_script
from handful.llm.sources import locate
from handful.training_plan import CheckpointStore, TrainingPlan

if TYPE_CHECKING:
    from handful.llm.loading import LoadedModel

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
OnStep = Callable[[int, int, float], bool]
"""Called with (step, n_steps, loss); returning True saves a checkpoint and stops."""


class Engine(Protocol):
    """A base model by name."""

    @property
    def name(self) -> str:
        """How the user named the model."""
        ...

    def fingerprint(self) -> str:
        """Return the identity of the weights without loading them; raises ModelError if they cannot be found."""
        ...

    def arithmetic(self) -> dict[str, str | bool]:
        """Return what was asked for that changes results with the same weights, such as a float type; often nothing."""
        ...

    def llm(self, *, max_text_tokens: int) -> LLM:
        """Return the base model, loaded at the first call."""
        ...

    def train(self, plan: TrainingPlan, checkpoints: CheckpointStore, on_step: OnStep) -> dict[str, bytes]:
        """Tune an adapter and return the files of its directory; see `train.train_adapter`."""
        ...

    def tuned(self, directory: Path, *, max_text_tokens: int, layers: int | None = None, quick: bool = False) -> LLM:
        """Return the base model, cut to its lowest `layers` if they are given, with the adapter of a directory.

        With `quick` its products are in the type it was tuned in, not in the precision asked for: see `LocalEngine`.
        """
        ...

    def control_tokens(self, targets: tuple[str, ...]) -> ControlTokens | None:
        """Return what stock transformers must know to classify as we do, None if it cannot."""
        ...


@dataclass(frozen=True)
class LocalEngine:
    """A model that transformers loads in this process.

    On a CPU with instructions for bfloat16, tuning and the tuned judges multiply by the frozen weights in it, unless
    `dtype` says otherwise: half the time. What is written and what is answered is computed in `precision`.
    """

    name: str
    device: DeviceName = "auto"
    dtype: DtypeName = "auto"
    load_in_4bit: bool = False
    expected_fingerprint: str | None = None
    precision: Precision = "float32"
    """Of the matrix products of writing and answering, on a CPU."""

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        return _fingerprint(self.name)

    def arithmetic(self) -> dict[str, str | bool]:
        """See `Engine.arithmetic`; where it runs is no part of it, a run may move."""
        asked: dict[str, str | bool] = {}
        if self.dtype != "auto":
            asked["dtype"] = self.dtype
        if self.load_in_4bit:
            asked["load_in_4bit"] = True
        if self.precision != "float32":
            asked["precision"] = self.precision
        return asked

    def llm(self, *, max_text_tokens: int) -> LLM:
        """See `Engine.llm`."""
        return _shared_llm(self, max_text_tokens)

    def train(self, plan: TrainingPlan, checkpoints: CheckpointStore, on_step: OnStep) -> dict[str, bytes]:
        """See `Engine.train`."""
        from handful.llm.loading import lowest_layers
        from handful.train import train_adapter

        _shared_llm.cache_clear()  # two models in memory are one too many, and loading again takes a second
        loaded = lowest_layers(self.load(), plan.train.layers)
        precision = self._tuning_precision(loaded)
        return train_adapter(loaded, plan, checkpoints=checkpoints, on_step=on_step, precision=precision)

    def tuned(self, directory: Path, *, max_text_tokens: int, layers: int | None = None, quick: bool = False) -> LLM:
        """See `Engine.tuned`."""
        from handful.llm.adapters import with_adapter  # peft: a second of import that generating does not need
        from handful.llm.loading import lowest_layers
        from handful.llm.local import LocalLLM

        _shared_llm.cache_clear()  # as in `train`
        loaded = with_adapter(lowest_layers(self.load(), layers), directory, merge=not self.load_in_4bit)
        precision = self._tuning_precision(loaded) if quick else self.precision
        return LocalLLM(loaded, max_text_tokens=max_text_tokens, precision=precision, keep_model=False)

    def _tuning_precision(self, loaded: LoadedModel) -> Precision:
        from handful.llm.decoder import can_be_written_out
        from handful.llm.linear import quick_precision

        return quick_precision() if self.dtype == "auto" and can_be_written_out(loaded.model) else "float32"

    def control_tokens(self, targets: tuple[str, ...]) -> ControlTokens | None:
        """See `Engine.control_tokens`."""
        from handful.llm.loading import load_tokenizer

        return control_tokens(load_tokenizer(self.name), targets)

    def load(self) -> LoadedModel:
        """Load the model anew."""
        from handful.llm.loading import load_model, release_memory

        release_memory()
        return load_model(
            self.name,
            device=self.device,
            dtype=self.dtype,
            load_in_4bit=self.load_in_4bit,
            fingerprint=self.expected_fingerprint,
        )


@functools.lru_cache(maxsize=8)
def _fingerprint(name: str) -> str:
    """Hash the weights once a process: every stage is named by them."""
    return locate(name).fingerprint


@functools.lru_cache(maxsize=1)
def _shared_llm(engine: LocalEngine, max_text_tokens: int) -> LLM:
    from handful.llm.local import LocalLLM

    return LocalLLM(engine.load(), max_text_tokens=max_text_tokens, precision=engine.precision, keep_model=False)


@dataclass(frozen=True)
class ScriptedEngine:
    """The deterministic stand-in, for dry runs and tests: `--model scripted`."""

    name: str = SCRIPTED

    def fingerprint(self) -> str:
        """See `Engine.fingerprint`."""
        return ScriptedLLM().fingerprint

    def arithmetic(self) -> dict[str, str | bool]:
        """See `Engine.arithmetic`."""
        return {}

    def llm(self, *, max_text_tokens: int) -> LLM:
        """See `Engine.llm`."""
        return ScriptedLLM()

    def train(self, plan: TrainingPlan, checkpoints: CheckpointStore, on_step: OnStep) -> dict[str, bytes]:
        """See `Engine.train`."""
        return train_script(plan, checkpoints, on_step)

    def tuned(self, directory: Path, *, max_text_tokens: int, layers: int | None = None, quick: bool = False) -> LLM:
        """See `Engine.tuned`."""
        return tuned_script(directory)

    def control_tokens(self, targets: tuple[str, ...]) -> None:
        """See `Engine.control_tokens`; stock transformers cannot load a script."""


def open_engine(
    name: str,
    *,
    device: DeviceName = "auto",
    dtype: DtypeName = "auto",
    load_in_4bit: bool = False,
    expected_fingerprint: str | None = None,
    precision: Precision = "float32",
) -> Engine:
    """Return the engine for a model spec (see `sources.py`), or the stand-in for `scripted`."""
    if name == SCRIPTED:
        return ScriptedEngine()
    return LocalEngine(name, device, dtype, load_in_4bit, expected_fingerprint, precision)
