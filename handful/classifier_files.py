"""What a classifier directory holds besides the PEFT adapter: prompt, labels, calibration, model card, `decision.json`.

Prompt and adapter are saved together, so that serving cannot use another prompt than training.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from handful.encoding import ControlTokens
from handful.errors import AdapterError, TaskError
from handful.prompts import Segment, classification_prefix, classification_prompt, targets
from handful.reading.labels import Label, LocatedLabel, check_labels
from handful.recipe import Recipe
from handful.records import Example
from handful.storage.directories import verify_directory
from handful.storage.jsonl import decode
from handful.task import Task

SPEC_FILE = "handful.json"
FORMAT_VERSION = 1
_SPLIT, _MARK = "<|split|>", "<|mark|>"
"""Sentinels of `pipeline("decision")`: cut the tokens here; read the answer here."""
_REMAKE = "Make it again with `handful run`, or restore it from a copy."


@dataclass(frozen=True)
class ClassifierSpec:
    """Everything a classifier is besides the weights."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(allow_inf_nan=False)
    task_name: str
    labels: tuple[str, ...]
    targets: tuple[str, ...]
    """What stands for each label behind the prompt."""
    prefix: tuple[Segment, ...]
    format: Literal["plain", "chat"]
    max_text_tokens: int
    shift: tuple[float, ...] | None
    """Calibration: nats taken off each label's log-probability."""
    base_model: str
    base_model_fingerprint: str
    layers: int | None = None
    """How many of the base model's lowest layers it has; None is all."""


def classifier_spec(
    task: Task,
    recipe: Recipe,
    *,
    base_model: str,
    base_model_fingerprint: str,
    demonstrations: Sequence[Example] = (),
) -> ClassifierSpec:
    """Return the spec of a task's classifier, not calibrated; with demonstrations it is the in-context baseline."""
    return ClassifierSpec(
        task_name=task.name,
        labels=task.label_names,
        targets=targets(task, recipe.prompt.format),
        prefix=classification_prefix(task, demonstrations),
        format=recipe.prompt.format,
        max_text_tokens=recipe.prompt.max_text_tokens,
        shift=None,
        base_model=base_model,
        base_model_fingerprint=base_model_fingerprint,
        layers=recipe.train.layers,
    )


def classifier_files(
    spec: ClassifierSpec, *, control: ControlTokens | None, facts: Mapping[str, Any]
) -> dict[str, bytes]:
    """Return the files that go beside the adapter.

    Args:
        spec: The classifier.
        control: See `encoding.control_tokens`; None if `pipeline("decision")` cannot read the prompt as we do.
        facts: What the model card tells: recipe, seed, counts.
    """
    values = {
        "format_version": FORMAT_VERSION,
        "task_name": spec.task_name,
        "labels": list(spec.labels),
        "targets": list(spec.targets),
        "prefix": [dataclasses.asdict(segment) for segment in spec.prefix],
        "format": spec.format,
        "max_text_tokens": spec.max_text_tokens,
        "shift": None if spec.shift is None else list(spec.shift),
        "base_model": spec.base_model,
        "base_model_fingerprint": spec.base_model_fingerprint,
        "layers": spec.layers,
        "versions": {name: version(name) for name in ("handful", "torch", "transformers", "peft")},
    }
    # Neither a shift per label nor fewer layers can be said in decision.json: it would answer otherwise.
    if spec.format != "plain" or any(spec.shift or ()) or spec.layers is not None:
        control = None
    card = _model_card(spec, facts, speaks_decision=control is not None)
    files = {SPEC_FILE: _json(values), "README.md": card.encode("utf-8", "surrogatepass")}
    if control is not None:
        # The adapter lies beside decision.json, not in a folder of its own: hence the dot. The template itself keeps
        # control tokens out of the text, in our way: the library's own would cut the text into other tokens.
        decision = {"labels": {"choice": list(spec.targets)}, "adapter": ".", "sanitize_control_tokens": False}
        files["decision.json"] = _json(decision)
        files["decision_template.jinja"] = _decision_template(spec, control).encode()
    return files


def read_classifier(directory: Path) -> ClassifierSpec:
    """Read a classifier directory's spec after verifying every file's checksum.

    Raises:
        AdapterError: Missing, damaged, or not a classifier directory.
    """
    if not (directory / SPEC_FILE).is_file():
        inner = directory / "adapter" / SPEC_FILE
        mend = f"Give {str(inner.parent)!r}." if inner.is_file() else "Give the adapter directory of a finished run."
        raise AdapterError("not a classifier directory (no handful.json)", where=str(directory), mend=mend)
    verify_directory(directory)
    try:
        values = decode((directory / SPEC_FILE).read_bytes())
        if values["format_version"] > FORMAT_VERSION:
            raise AdapterError(
                f"made by a newer handful ({values['versions']['handful']})",
                where=str(directory),
                mend="Upgrade handful to read it.",
            )
        known = {field.name: values[field.name] for field in dataclasses.fields(ClassifierSpec) if field.name in values}
        spec = TypeAdapter(ClassifierSpec).validate_python(known)
        _check(spec)
        return spec
    except (ValueError, KeyError, TypeError, AttributeError, TaskError) as error:
        raise AdapterError(f"damaged {SPEC_FILE}: {_first_line(error)}", where=str(directory), mend=_REMAKE) from error


def _check(spec: ClassifierSpec) -> None:
    """Check that a spec, which may be a stranger's, can be used and shown; raises ValueError or TaskError."""
    if not 2 <= len(spec.labels) == len(spec.targets) == len(spec.shift or spec.labels):
        raise ValueError("labels, targets and shift do not fit each other")
    check_labels([LocatedLabel(Label(label), SPEC_FILE) for label in spec.labels], SPEC_FILE)
    if len(set(spec.targets)) < len(spec.targets) or not all(spec.targets):
        raise ValueError("two labels have the same target, or one has none")
    if not any(segment.text for segment in spec.prefix):
        raise ValueError("the prompt is empty")
    if spec.max_text_tokens < 1 or (spec.layers is not None and spec.layers < 1):
        raise ValueError("max_text_tokens and layers must be at least 1")


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if isinstance(error, TaskError):
        return error.message
    return repr(error)[:200]


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8", "surrogatepass")


def _decision_template(spec: ClassifierSpec, control: ControlTokens) -> str:
    """Return the Jinja template that renders our prompt, cut where ours is cut into tokens.

    Text of the task goes in as string literals, so that none of it is Jinja.
    """
    # The library's own marks come first, the one that cuts are made with before all: a text that spells them (the
    # library takes them out, but two nested ones leave one) must not move the place the answer is read at.
    spellings = dict.fromkeys((_SPLIT, _MARK, *control.spellings))
    cuts = [(spelling, f"{spelling[0]}{_SPLIT}{spelling[1:]}") for spelling in spellings]
    segments = [segment.text for segment in spec.prefix]
    behind = "".join(segment.text for segment in classification_prompt(spec.prefix, "").suffix)
    for spelling, cut in cuts:
        segments = [segment.replace(spelling, cut) for segment in segments]
    return "".join(
        [
            f"{{{{- {_literal(control.opening + _SPLIT.join(segments))} -}}}}",
            "{%- set line = (state if state is string else state|tojson).split()|join(' ') -%}",
            *(f"{{%- set line = line|replace({_literal(a)}, {_literal(b)}) -%}}" for a, b in cuts),
            f"{{{{- {_literal(_SPLIT)} ~ (' ' ~ line if line else '') ~ {_literal(_SPLIT + behind)} -}}}}",
        ]
    )


def _literal(text: str) -> str:
    # Not as ASCII: Jinja does not join the surrogate pairs JSON would write.
    return json.dumps(text, ensure_ascii=False)


def _model_card(spec: ClassifierSpec, facts: Mapping[str, Any], speaks_decision: bool) -> str:
    lines = [
        "---",
        "library_name: peft",
        "pipeline_tag: text-classification",
        "tags: [handful, lora, few-shot, synthetic-data]",
        "---",
        f"# {_plain(spec.task_name)}: text classifier",
        "",
        f"LoRA adapter for `{_plain(spec.base_model)}` (weights `{spec.base_model_fingerprint}`), made by handful from",
        "a few labelled examples and texts the same model wrote and checked itself.",
        "",
        f"- Labels: {', '.join(f'`{_plain(label)}`' for label in spec.labels)}",
        *(f"- {key}: {_plain(str(value))}" for key, value in facts.items()),
        "",
        "## Use",
        "",
        "```python",
        "from handful import Classifier",
        "",
        'classifier = Classifier.load("path/of/this/folder")',
        'classifier.predict(["some text"]), classifier.predict_proba(["some text"])',
        "```",
        "",
    ]
    lines += (
        _use_without_handful(spec)
        if speaks_decision
        else [
            '`pipeline("decision")` of transformers cannot use it: that needs labels of one token,',
            "the plain prompt, all layers, and no calibration shift.",
            "",
        ]
    )
    lines += [
        "## Limits",
        "",
        "Probabilities are softmax values over the labels above, whatever the text. Training data includes text",
        "written by the base model and carries its biases. Texts are read up to "
        f"{spec.max_text_tokens} tokens; of longer ones the middle is left out.",
        "",
    ]
    return "\n".join(lines)


def _use_without_handful(spec: ClassifierSpec) -> list[str]:
    criteria = repr(dict.fromkeys(spec.labels))
    return [
        "With stock transformers and without handful (`decision_config` is needed: without it the settings here",
        "are not read; `base_model` is a folder or hub id of the base model):",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'decide = pipeline("decision", model=base_model, decision_config="path/of/this/folder")',
        f'decide({{"state": "some text", "questions": {{"label": {{"type": "choice", "criteria": {criteria}}}}}}})',
        "```",
        "",
    ]


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
