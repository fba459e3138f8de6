"""The objects that travel from stage to stage: frozen, and one JSON line each on disk.

`pipeline.py` passes them from stage to stage.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from handful.errors import RunError

Decision = Literal["kept", "relabelled", "rejected"]


@dataclass(frozen=True)
class Record:
    """Base of the records: to and from one JSON object."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(
        strict=True, revalidate_instances="always", allow_inf_nan=False
    )

    def to_row(self) -> dict[str, Any]:
        """Return the record as a JSON-ready mapping, fields in declared order."""
        return dataclasses.asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Rebuild the record from `to_row`'s mapping as it comes back from JSON, where tuples are lists.

        Raises:
            RunError: It is no such mapping: a key is missing or unknown, or a value is of another kind.
        """
        kind: Any = cls  # else mypy holds the class for as little hashable as its records
        try:
            record = cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in row.items()})
            # Not pydantic's copy is returned, in which a whole number has become a float, but what was written.
            _checker(kind).validate_python(record)
            return record
        except (AttributeError, TypeError):
            why = "its keys are others"
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        mend = "Was it written by another version of handful, or by hand? Begin the run anew, in another directory."
        raise RunError(f"a row cannot be understood as {cls.__name__}: {why}", mend=mend)


@functools.cache
def _checker(kind: type[Record]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@dataclass(frozen=True)
class Example(Record):
    """One labelled text."""

    text: str
    label: str


@dataclass(frozen=True)
class Attribute(Record):
    """Something texts of a task differ in, such as their length, and what it can be (Yu et al. 2023)."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Candidate(Record):
    """One text the LLM wrote when asked for `intended_label`; not yet judged."""

    id: str
    """`{round}-{label index}-{index}`: its place in the generation plan, unique in a run."""
    text: str
    intended_label: str
    seed: int
    """The seed of its sampling stream."""
    prompt_id: str
    """Fingerprint of the prompt it was written from."""
    fold: int = 0
    """Which fold of the examples its prompt showed (0 where all did)."""
    finished: bool = True
    """Whether the model ended the text itself (end of line) before the token limit."""
    n_tokens: int | None = None
    """How many tokens the model wrote; None where that was not kept."""

    @property
    def turn(self) -> tuple[int, int, int]:
        """Its place where the labels of a round are taken in turn: round, index, label index."""
        round_index, label_index, index = map(int, self.id.split("-"))
        return round_index, index, label_index


@dataclass(frozen=True)
class LabelScores(Record):
    """What the judge said of one candidate: log-probabilities in the order of the task's labels."""

    candidate_id: str
    log_probs: tuple[float, ...]


@dataclass(frozen=True)
class Verdict(Record):
    """The filter's decision on one candidate, with everything it rests on."""

    candidate_id: str
    decision: Decision
    reason: str
    """Reason code: "agrees", "relabelled", "disagrees", "low_margin", "too_short", "duplicate", ..."""
    label: str
    """The label to train on: the intended one, or the judge's if relabelled."""
    label_probabilities: tuple[float, ...] = ()
    """Calibrated, in the order of the task's labels; empty when the text was rejected before judging."""
    log_probs: tuple[float, ...] = ()
    """Uncalibrated label log-probabilities in nats, same order."""
    margin: float = 0.0
    """Probability of the intended label less the best other one, in [-1, 1]."""


@dataclass(frozen=True)
class TrainingExample(Record):
    """One row the adapter is trained on."""

    text: str
    label: str
    source: Literal["real", "synthetic"]
    weight: float = 1.0
    label_probabilities: tuple[float, ...] = ()
    """Soft target in the order of the task's labels; empty for a hard one."""


@dataclass(frozen=True)
class Prediction(Record):
    """The classifier's answer to one text."""

    text_id: str
    label: str
    probabilities: Mapping[str, float]
    cut: bool = False
    """Whether the text was too long and its middle was left out."""
