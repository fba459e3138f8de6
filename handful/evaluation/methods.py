"""The methods a run is compared by, as data: what stands in the prompt, and what the adapter was tuned on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Method:
    """One row of the results table; all of them go through the same scoring."""

    name: str
    title: str
    """How tables call it; `{k}` is the number of real examples per label."""
    demonstrations: bool = False
    """Whether the real examples stand in the prompt."""
    trained_on: Literal["nothing", "real", "real_and_synthetic"] = "nothing"


METHODS = (
    Method("zero_shot", "0-shot"),
    Method("in_context", "ICL-{k}", demonstrations=True),
    Method("lora_real", "LoRA-{k}", trained_on="real"),
    Method("lora_synthetic", "ours ({k} + {n})", trained_on="real_and_synthetic"),
)
