"""The methods that are compared, as data: what stands in the prompt, what is tuned, and on which texts."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from handful.errors import RecipeError
from handful.reading.wording import did_you_mean, listing, short

FULL: Literal["full"] = "full"
"""Instead of a number of examples per label: the whole training set."""
_N = "generate.synthetic_per_label="
_FIRST = "first="
Shots = int | Literal["full"]


@dataclass(frozen=True)
class Method:
    """One way to classify; all of them go through the same scoring."""

    name: str
    title: str
    """How tables call it; `{k}` is the number of real examples per label, `{n}` of synthetic ones."""
    demonstrations: bool = False
    """Whether the real examples stand in the prompt."""
    trained_on: Literal["nothing", "real", "real_and_synthetic"] = "nothing"
    """What an adapter is tuned on."""
    filter_method: Literal["agreement", "random", "none"] | None = None
    """Which candidates are trained on, if not those the recipe chooses: the ablations."""
    peer: Literal["llm_probe", "encoder_probe", "setfit", "tfidf"] | None = None
    """What is used instead of the LLM's own answer; see `handful.peers`."""
    shots: Shots | None = None
    """Real examples per label, where it is not the task's handful."""
    changes: tuple[str, ...] = ()
    """What its recipe changes, each `stage.key=value`."""
    first_synthetic: int | None = None
    """Synthetic examples per label that it is tuned on, the first that were kept; None is all the recipe takes."""
    most_seeds: int | None = None
    """Measured with the first so many seeds only; None is all. No part of `key`: it changes no number."""

    @property
    def key(self) -> str:
        """The method as it is asked for; see `method_of`."""
        shots = "" if self.shots is None else f":{self.shots}"
        return f"{self.name}{shots}" + (f"[{','.join(self.settings)}]" if self.settings else "")

    @property
    def settings(self) -> tuple[str, ...]:
        """What stands in its brackets."""
        first = () if self.first_synthetic is None else (f"{_FIRST}{self.first_synthetic}",)
        return (*first, *self.changes)

    @property
    def is_plain(self) -> bool:
        """Whether it has the handful of examples and the recipe as it is."""
        return self.key == self.name

    @property
    def is_rival(self) -> bool:
        """Whether a user could pick it instead of ours, with the same handful of examples: no ablation of ours."""
        return self.is_plain and self.trained_on != "real_and_synthetic"

    @property
    def uses_llm_scores(self) -> bool:
        """Whether the answers are label log-probabilities of the LLM, whose prior can be taken out."""
        return self.peer is None

    def titled(self, shots_per_label: int, synthetic_per_label: Collection[int], encoder: str | None = None) -> str:
        """Return the title for a task's handful of so many, and recipes that take so many synthetic examples.

        Draws have recipes of different N where some have long examples. `encoder` is the sentence encoder of the
        peers, if it is another than MiniLM.
        """
        own = shots_per_label if self.shots is None else self.shots
        changed = [change for change in self.changes if not change.startswith(_N)]
        if self.first_synthetic is not None:
            changed.insert(0, f"of {_either(synthetic_per_label)}")
        taken = {min(n, self.first_synthetic or n) for n in synthetic_per_label}
        base = self.title if any(taken) or self.name != OURS else METHODS["lora_real"].title
        title = base.format(k=own, n=_either(taken), encoder=PurePath(encoder or "MiniLM").name)
        return title + (f", {', '.join(changed)}" if changed else "")


def _either(numbers: Collection[int]) -> str:
    return " or ".join(map(str, sorted(set(numbers))))


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("zero_shot", "0-shot"),
        Method("in_context", "ICL-{k}", demonstrations=True),
        Method("lora_real", "LoRA-{k}", trained_on="real"),
        Method("lora_synthetic", "ours ({k} + {n})", trained_on="real_and_synthetic"),
        Method(
            "lora_synthetic_unfiltered",
            "ours, unfiltered ({k} + {n})",
            trained_on="real_and_synthetic",
            filter_method="none",
        ),
        Method(
            "lora_synthetic_random",
            "ours, random filter ({k} + up to {n})",
            trained_on="real_and_synthetic",
            filter_method="random",
        ),
        Method("llm_probe", "probe on the LLM's states, {k}", peer="llm_probe"),
        Method("encoder_probe", "probe on {encoder}, {k}", peer="encoder_probe"),
        Method("setfit", "SetFit on {encoder}, {k}", peer="setfit"),
        Method("tfidf", "TF-IDF + logistic regression, {k}", peer="tfidf"),
    )
}
OURS = "lora_synthetic"
"""The method the others are compared with: what a run makes."""
RUN_METHODS = tuple(METHODS[name] for name in ("zero_shot", "in_context", "lora_real", OURS))
"""What every run is compared by."""


def methods_of(specs: str) -> tuple[Method, ...]:
    """Return the methods of a comma-separated list of specs, each once; see `method_of`.

    Raises:
        RecipeError: There is none, or one is not usable.
    """
    found = [method_of(spec) for spec in re.findall(r"(?:[^,\[]|\[[^\]]*\]?)+", specs) if spec.strip()]
    if not found:
        raise RecipeError("no method is named", where="--methods", mend=f"The methods are {listing(METHODS)}.")
    return tuple({method.key: method for method in found}.values())


def method_of(spec: str) -> Method:
    """Return the method of a spec.

    A name; `name:25` and `name:full` for another number of real examples per label, or all there are;
    `name[stage.key=value,...]` for a change of its recipe, `name[50]` for so many synthetic examples per label, and
    `name[first=50,200]` for the first 50 of 200: such methods share the candidates of one draw.
    `@3` behind it measures with the first three seeds only; a whole training set has one, unless more are asked for.

    >>> method_of("lora_synthetic[50,generate.temperature=0.7]").changes
    ('generate.synthetic_per_label=50', 'generate.temperature=0.7')

    Raises:
        RecipeError: There is no such method, or what it is followed by means nothing.
    """
    found = re.fullmatch(r"\s*([^:\[\]@]*)(?::([^\[\]@]*))?(?:\[([^\[\]]*)\])?(?:@([^\[\]@]*))?\s*", spec)
    name = "" if found is None else found[1].strip()
    if found is None or name not in METHODS:
        mend = did_you_mean(name, METHODS) or f"The methods are {listing(METHODS)}."
        raise RecipeError(f"there is no method {short(spec.strip())}", where="--methods", mend=mend)
    method = METHODS[name]
    if found[2] is not None:
        shots = _shots(method, found[2].strip())
        method = dataclasses.replace(method, shots=shots, most_seeds=1 if shots == FULL else None)
    if found[4] is not None:
        method = dataclasses.replace(method, most_seeds=_seeds(method, found[4].strip()))
    changes = [change.strip() for change in (found[3] or "").split(",") if change.strip()]
    for first in [change for change in changes if change.startswith(_FIRST)]:
        changes.remove(first)
        method = dataclasses.replace(method, first_synthetic=_first(method, first.removeprefix(_FIRST).strip()))
    count = next((change for change in changes if _is_count(change)), None)
    if count is not None and method.trained_on != "real_and_synthetic":
        raise _tuned_on_none(method, count)
    return dataclasses.replace(
        method, changes=tuple(_N + change if _is_count(change) else change for change in changes)
    )


def _shots(method: Method, shots: str) -> Shots:
    if method.name == "zero_shot":
        raise RecipeError("zero_shot uses no examples", where="--methods", mend="Write zero_shot.")
    if shots == FULL and method.trained_on == "real_and_synthetic":
        mend = f"Write {method.name}:25 for another number of examples, or lora_real:{FULL}."
        raise RecipeError(f"{method.name} starts from a handful of examples", where="--methods", mend=mend)
    if shots == FULL:
        return FULL
    if not _is_count(shots):
        mend = f"Write {method.name}:25, or {method.name}:{FULL} for the whole training set."
        raise RecipeError(f"{short(shots)} is no number of examples per label", where="--methods", mend=mend)
    return int(shots)


def _seeds(method: Method, seeds: str) -> int:
    if not _is_count(seeds):
        mend = f"Write {method.name}@3 for the first three seeds."
        raise RecipeError(f"{short(seeds)} is no number of seeds", where="--methods", mend=mend)
    return int(seeds)


def _first(method: Method, count: str) -> int:
    if method.trained_on != "real_and_synthetic":
        raise _tuned_on_none(method, f"{_FIRST}{short(count)}")
    if not _is_count(count):
        mend = f"Write {method.name}[{_FIRST}50] for the first 50 that were kept for each label."
        raise RecipeError(f"{short(count)} is no number of examples", where="--methods", mend=mend)
    return int(count)


def _tuned_on_none(method: Method, written: str) -> RecipeError:
    message = f"{method.name} is tuned on no synthetic examples"
    return RecipeError(message, where="--methods", mend=f"Write {method.name} without {written}.")


def _is_count(text: str) -> bool:
    return re.fullmatch(r"0*[1-9][0-9]{0,8}", text) is not None


ORACLE = method_of(f"lora_real:{FULL}")
"""Tuned on the whole training set: what it says of written texts is taken for their true label."""
