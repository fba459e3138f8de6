"""The only place that builds prompts.

A prompt is a sequence of segments, and segments are encoded one by one (`encoding.py`): what a user wrote (texts,
labels, the instruction) can neither become a control token nor change how the template around it is cut into tokens.

Layouts (plain):

    judge and classifier                        writer (Patwa et al. 2024, Fig. 2)
    Classify the question ...                   Few examples of question texts with the label
    Labels: Person, Place                       Person (...) are given. Generate more ...

    Text: <demonstration>                       Text: <example>
    Label: Person                               Label: Person

    Text: <query>                               Text:
    Label:
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from handful.records import Example
from handful.task import Task

TEXT_FIELD = "Text:"
LABEL_FIELD = "\nLabel:"
FIELD_MARKERS = ("text:", "label:", "labels:")
"""Line openings of our own layout; a generated text that contains one ran into the next example."""


@dataclass(frozen=True)
class Segment:
    """A piece of a prompt that is encoded by itself; only `trusted` ones may contain control tokens."""

    text: str
    trusted: bool = False
    is_example: bool = False
    """An example's text: like a query, it loses its middle where it is too long."""


@dataclass(frozen=True)
class Prompt:
    """What the LLM reads: a prefix that many prompts share (computed once) and this prompt's own rest.

    The answer starts right after it. In plain layout the space before the answer belongs to the answer.
    """

    prefix: tuple[Segment, ...]
    query: str | None = None
    """The text in question, on one line; None where the prefix is the whole prompt."""
    suffix: tuple[Segment, ...] = ()
    """What stands between the query and the answer."""
    format: Literal["plain", "chat"] = "plain"
    answer_start: str = ""
    """Chat layout only: what the model is made to start its answer with."""


def one_line(text: str) -> str:
    r"""Return the text with every run of white space as one space: no text can open a line of the layout.

    >>> one_line("a \n\nLabel: b")
    'a Label: b'
    """
    return " ".join(text.split())


def classification_prefix(task: Task, demonstrations: Sequence[Example] = ()) -> tuple[Segment, ...]:
    """Return what stands before the query: instruction, labels, and the demonstrations in the order given."""
    verbalizers = task.verbalizers
    segments = [Segment(one_line(task.instruction)), Segment("\nLabels:")]
    for index, label in enumerate(task.label_names):
        segments += [*([Segment(",")] if index else []), Segment(f" {verbalizers[label]}")]
    segments.append(Segment("\n\n"))
    for example in demonstrations:
        segments += [*_text_line(example.text), Segment(LABEL_FIELD), Segment(f" {verbalizers[example.label]}")]
        segments.append(Segment("\n\n"))
    segments.append(Segment(TEXT_FIELD))
    return tuple(segments)


def classification_prompt(
    prefix: tuple[Segment, ...], text: str, prompt_format: Literal["plain", "chat"] = "plain"
) -> Prompt:
    """Return the prompt that asks for the label of `text` behind a prefix of `classification_prefix`."""
    return Prompt(prefix=prefix, query=one_line(text), suffix=(Segment(LABEL_FIELD),), format=prompt_format)


def target(verbalizer: str, prompt_format: Literal["plain", "chat"] = "plain") -> str:
    """Return the exact continuation that stands for a label."""
    return f" {verbalizer}" if prompt_format == "plain" else verbalizer


def targets(task: Task, prompt_format: Literal["plain", "chat"] = "plain") -> tuple[str, ...]:
    """Return the continuations of all labels, in the task's order."""
    return tuple(target(task.verbalizers[label], prompt_format) for label in task.label_names)


def generation_prompt(
    task: Task,
    label: str,
    demonstrations: Sequence[Example],
    *,
    describe_label: bool = True,
    attributes: Mapping[str, str] | None = None,
    prompt_format: Literal["plain", "chat"] = "plain",
) -> Prompt:
    """Return the prompt that asks for one more text of a label (paper, Fig. 2), with these attributes if any."""
    chosen = next(entry for entry in task.labels if entry.name == label)
    segments = [
        Segment("Few examples of"),
        *_noun(task),
        Segment(" texts with the label"),
        Segment(f" {chosen.verbalizer}"),
    ]
    if describe_label and chosen.description:
        segments += [Segment(" ("), Segment(one_line(chosen.description)), Segment(")")]
    segments += [Segment(" are given. Generate more"), *_noun(task)]
    segments += [Segment(" texts with the label"), Segment(f" {chosen.verbalizer}")]
    for name, value in (attributes or {}).items():
        segments += [Segment(","), Segment(f" {one_line(name)}"), Segment(":"), Segment(f" {one_line(value)}")]
    segments.append(Segment(".\n\n"))
    for example in demonstrations:
        segments += [*_text_line(example.text), Segment(LABEL_FIELD), Segment(f" {chosen.verbalizer}")]
        segments.append(Segment("\n\n"))
    if prompt_format == "chat":
        return Prompt(prefix=tuple(segments), format="chat", answer_start=TEXT_FIELD)
    return Prompt(prefix=(*segments, Segment(TEXT_FIELD)))


def topic_prompt(task: Task, label: str, prompt_format: Literal["plain", "chat"] = "plain") -> Prompt:
    """Return the prompt that asks for one topic that texts of a label are about."""
    chosen = next(entry for entry in task.labels if entry.name == label)
    segments = [Segment("Different topics of"), *_noun(task)]
    segments += [Segment(" texts with the label"), Segment(f" {chosen.verbalizer}")]
    if chosen.description:
        segments += [Segment(" ("), Segment(one_line(chosen.description)), Segment(")")]
    segments.append(Segment(", a few words each:\n"))
    if prompt_format == "chat":
        return Prompt(prefix=tuple(segments), format="chat", answer_start="1.")
    return Prompt(prefix=(*segments, Segment("1.")))


def _noun(task: Task) -> list[Segment]:
    """Return what kind of texts the task has: nothing where they are called texts."""
    name = one_line(task.text_name)
    return [] if name.casefold() in {"text", "texts"} else [Segment(f" {name}")]


def _text_line(text: str) -> list[Segment]:
    return [Segment(TEXT_FIELD), Segment(f" {one_line(text)}", is_example=True)]
