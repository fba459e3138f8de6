"""How far a run is, read from its directory without the lock, so also while it is going."""

from __future__ import annotations

import os
import socket
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from handful.errors import AdapterError, RunError
from handful.run import read_jsonl, read_manifest
from handful.storage.directories import verify_directory
from handful.storage.files import read_bytes
from handful.storage.jsonl import decode, encode, read_json
from handful.storage.manifest import LOCK
from handful.task import Task

STAGES = ("generate", "filter", "train", "evaluate")


@dataclass(frozen=True)
class RunStatus:
    """What is there of a run."""

    identity: dict[str, Any]
    done: dict[str, bool]
    """Whether each of `STAGES` is finished."""
    labels: dict[str, dict[str, int]]
    """Candidates written for each label, and kept under it."""
    training_examples: int
    adapter_fault: str
    """What is wrong with the classifier directory, if anything."""
    results: dict[str, Any] | None
    timings: dict[str, Any] | None
    holder: dict[str, Any] | None
    """The process at work in the directory."""


@dataclass(frozen=True)
class _Recipe:
    name: str


@dataclass(frozen=True)
class _Identity:
    """What is shown of a manifest's identity; a stranger's may hold anything."""

    task_name: str
    recipe: _Recipe
    seed: int
    model: str


@dataclass(frozen=True)
class _MethodRow:
    title: str
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    calibrated_accuracy: float | None
    ms_per_text: float
    prompt_tokens: float


@dataclass(frozen=True)
class _Results:
    """What is shown of results.json."""

    n_test: int
    methods: list[_MethodRow]


@dataclass(frozen=True)
class _StageTimes:
    # Finite, and small enough to be added up.
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    units: Annotated[int, Field(ge=0, le=10**15)]
    unit: str


@dataclass(frozen=True)
class _Timings:
    """What is shown of timings.json, and gone on with."""

    stages: dict[str, _StageTimes]


def read_timings(directory: Path) -> dict[str, Any] | None:
    """Return `{"stages": {name: {"seconds", "units", "unit"}}, "seconds"}`, the time a run has taken so far.

    None if that is not known, or damaged: nothing rests on it, so that it stops nothing.
    """
    try:
        data = read_bytes(directory / "timings.json")
        stages = asdict(TypeAdapter(_Timings).validate_json(data, strict=True))["stages"]
    except (OSError, ValueError):
        return None
    return {"stages": stages, "seconds": round(sum(own["seconds"] for own in stages.values()), 3)}


def current_results(directory: Path) -> Any:
    """Return what results.json holds; None without one, or if the run has other test texts by now."""
    results, saved = read_json(directory / "results.json"), read_json(directory / "task.json")
    measured_on = results.get("test") if isinstance(results, dict) else None
    if measured_on is None or saved is None:
        return results
    return results if measured_on == Task.from_dict(saved).test_fingerprint() else None


def read_status(directory: Path) -> RunStatus:
    """Read how far a run is.

    Raises:
        RunError: Not a run directory, or a file in it cannot be read.
    """
    identity = dict(read_manifest(directory)["identity"])
    if "task_name" not in identity:
        mend = "Its draws are runs, below `runs`; its table is in tables.md."
        raise RunError("this is the directory of a benchmark", where=str(directory), mend=mend)
    fault, trained = "", (directory / "adapter").is_dir()
    if trained:
        try:
            verify_directory(directory / "adapter")
        except AdapterError as error:
            fault, trained = error.message, False
    # The training set is published when writing and checking are over.
    chosen = (directory / "training.jsonl").is_file()
    results = current_results(directory)
    try:
        # As JSON, since only there strict still lets a mapping stand for its class.
        TypeAdapter(_Identity).validate_json(encode(identity), strict=True)
        TypeAdapter(_Results | None).validate_json(encode(results), strict=True)
        labels = _labels(directory)
    except (LookupError, TypeError, ValueError) as error:
        mend = "Was it written by another version of handful? Give the run's command again."
        why = " ".join(str(error).split())[:200] or repr(error)
        message = f"the files of this run cannot be understood: {why}"
        raise RunError(message, where=str(directory), mend=mend) from None
    return RunStatus(
        identity=identity,
        done={"generate": chosen, "filter": chosen, "train": trained, "evaluate": results is not None},
        labels=labels,
        training_examples=len(_rows(directory / "training.jsonl")),
        adapter_fault=fault,
        results=results,
        timings=read_timings(directory),
        holder=_holder(directory),
    )


def _labels(directory: Path) -> dict[str, dict[str, int]]:
    written = Counter(row["intended_label"] for row in _rows(directory / "candidates.jsonl"))
    kept = Counter(row["label"] for row in _rows(directory / "verdicts.jsonl") if row["decision"] != "rejected")
    if not all(isinstance(label, str) for label in (*written, *kept)):
        raise TypeError("a label is not a text")
    return {label: {"written": written[label], "kept": kept[label]} for label in dict.fromkeys([*written, *kept])}


def _rows(path: Path) -> list[dict[str, Any]]:
    return read_jsonl(path) if path.is_file() else []


def _holder(directory: Path) -> dict[str, Any] | None:
    try:
        holder: dict[str, Any] = decode(read_bytes(directory / f"{LOCK}.json"))
        # A killed process leaves this file behind.
        holder["since"]
        encode(holder)  # NaN is no JSON
        gone = holder["host"] == socket.gethostname() and not _is_alive(int(holder["pid"]))
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return None
    return None if gone else holder


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # signal 0 would end it there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
