"""The only place that builds prompts, and turns them into token ids.

A prompt is a sequence of segments, and segments are encoded one by one: what a user wrote (texts, labels, the
instruction) can neither become a control token nor change how the template around it is cut into tokens.

Layouts (plain):

    judge and classifier                        writer (Patwa et al. 2024, Fig. 2)
    Classify the question ...                   Here are examples of a question about ...
    Labels: Person, Place                       Text: <example>
                                                Label: Person
    Text: <demonstration>
    Label: Person                               Text:

    Text: <query>
    Label:
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from handful.errors import ModelError, PromptTooLongError
from handful.records import Example
from handful.task import Task

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


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids of a prompt."""

    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    cut: bool
    """Whether the middle of the query was left out."""


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
        segments += [*_text_line(example.text), Segment("\nLabel:"), Segment(f" {verbalizers[example.label]}")]
        segments.append(Segment("\n\n"))
    segments.append(Segment("Text:"))
    return tuple(segments)


def classification_prompt(
    prefix: tuple[Segment, ...], text: str, prompt_format: Literal["plain", "chat"] = "plain"
) -> Prompt:
    """Return the prompt that asks for the label of `text` behind a prefix of `classification_prefix`."""
    return Prompt(prefix=prefix, query=one_line(text), suffix=(Segment("\nLabel:"),), format=prompt_format)


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
        Segment(f" {one_line(task.text_name)}"),
        Segment(" texts with the label"),
        Segment(f" {chosen.verbalizer}"),
    ]
    if describe_label and chosen.description:
        segments += [Segment(" ("), Segment(one_line(chosen.description)), Segment(")")]
    segments += [Segment(" are given. Generate more"), Segment(f" {one_line(task.text_name)}")]
    segments += [Segment(" texts with the label"), Segment(f" {chosen.verbalizer}")]
    for name, value in (attributes or {}).items():
        segments += [Segment(","), Segment(f" {one_line(name)}"), Segment(":"), Segment(f" {one_line(value)}")]
    segments.append(Segment(".\n\n"))
    for example in demonstrations:
        segments += [*_text_line(example.text), Segment("\nLabel:"), Segment(f" {chosen.verbalizer}")]
        segments.append(Segment("\n\n"))
    if prompt_format == "chat":
        return Prompt(prefix=tuple(segments), format="chat", answer_start="Text:")
    return Prompt(prefix=(*segments, Segment("Text:")))


def topic_prompt(task: Task, label: str, prompt_format: Literal["plain", "chat"] = "plain") -> Prompt:
    """Return the prompt that asks for one topic that texts of a label are about."""
    chosen = next(entry for entry in task.labels if entry.name == label)
    segments = [Segment("Different topics of"), Segment(f" {one_line(task.text_name)}")]
    segments += [Segment(" texts with the label"), Segment(f" {chosen.verbalizer}")]
    if chosen.description:
        segments += [Segment(" ("), Segment(one_line(chosen.description)), Segment(")")]
    segments.append(Segment(", a few words each:\n"))
    if prompt_format == "chat":
        return Prompt(prefix=tuple(segments), format="chat", answer_start="1.")
    return Prompt(prefix=(*segments, Segment("1.")))


def _text_line(text: str) -> list[Segment]:
    return [Segment("Text:"), Segment(f" {one_line(text)}", is_example=True)]


def encode_text(text: str, tokenizer: Any) -> list[int]:
    """Encode untrusted text: whatever it spells, no id of an added (control) token comes out.

    `split_special_tokens` alone leaves added tokens that are not marked special (`<think>`, `<tool_call>`), so the
    text is also cut inside every such spelling.
    """
    ids: list[int] = []
    start = 0
    for match in _added_tokens(tokenizer).finditer(text):
        ids += tokenizer(text[start : match.start() + 1], add_special_tokens=False, split_special_tokens=True).input_ids
        start = match.start() + 1
    ids += tokenizer(text[start:], add_special_tokens=False, split_special_tokens=True).input_ids
    return ids


_HEADS_KEPT = 64


@dataclass(frozen=True)
class ControlTokens:
    """What another program needs to know to cut our prompts into the same tokens."""

    opening: str
    """What the tokenizer puts before any text, spelled out."""
    spellings: tuple[str, ...]
    """Every added token of more than one character, the longest first; a text is cut behind the first one's."""


def control_tokens(tokenizer: Any, targets: Sequence[str]) -> ControlTokens | None:
    """Return what stock transformers must know to read our prompts, or None if it would read them otherwise.

    It scores targets by one token each, and encodes the pieces between control tokens; sentencepiece tokenizers encode
    such pieces differently from texts of their own.
    """
    if any(len(encode_text(target, tokenizer)) != 1 for target in targets) or not tokenizer.all_special_tokens:
        return None
    marker, pieces = tokenizer.all_special_tokens[0], ("Text:", " one", "\nLabel:")
    between = [tokenizer.convert_tokens_to_ids(marker)]
    together = tokenizer(marker.join(pieces), add_special_tokens=False).input_ids
    apart = [encode_text(piece, tokenizer) for piece in pieces]
    if together != [*apart[0], *between, *apart[1], *between, *apart[2]]:
        return None
    return ControlTokens("".join(tokenizer.convert_ids_to_tokens(tokenizer("").input_ids)), _spellings(tokenizer))


def encode(prompt: Prompt, tokenizer: Any, *, max_text_tokens: int, context_length: int = 1 << 30) -> EncodedPrompt:
    """Encode a prompt segment by segment; a query or example of more than `max_text_tokens` loses its middle.

    Raises:
        ModelError: The prompt is longer than `context_length` tokens.
    """
    head, tail = (prompt.prefix, prompt.suffix) if prompt.format == "plain" else _chat_segments(prompt, tokenizer)
    # A chat template writes its own beginning-of-text token; plain text gets what the tokenizer puts before any text.
    opening = tokenizer("").input_ids if prompt.format == "plain" else []
    prefix_ids = (*opening, *_encode_head(tuple(head), tokenizer, max_text_tokens))
    suffix_ids = [i for segment in tail for i in _encode_segment(segment, tokenizer, max_text_tokens)]
    cut = False
    if prompt.query is not None:
        query_ids, cut = _encode_at_most(f" {prompt.query}" if prompt.query else "", tokenizer, max_text_tokens)
        suffix_ids = [*query_ids, *suffix_ids]
    if len(prefix_ids) + len(suffix_ids) > context_length:
        raise PromptTooLongError(
            f"the prompt has {len(prefix_ids) + len(suffix_ids)} tokens, the model reads {context_length}",
            mend="Use fewer shots per label (--shots-per-label), shorter examples, or a model with a longer context.",
        )
    return EncodedPrompt(prefix_ids, tuple(suffix_ids), cut)


def _encode_head(segments: tuple[Segment, ...], tokenizer: Any, max_text_tokens: int) -> list[int]:
    """Encode what stands before the query: of the same segments once, since hundreds of prompts share them."""
    known: dict[tuple[object, ...], list[int]] | None = getattr(tokenizer, "_handful_heads", None)
    if known is None:
        known = tokenizer._handful_heads = {}
    key = (segments, max_text_tokens)
    if key not in known:
        if len(known) >= _HEADS_KEPT:
            known.clear()
        known[key] = [i for segment in segments for i in _encode_segment(segment, tokenizer, max_text_tokens)]
    return known[key]


def _encode_segment(segment: Segment, tokenizer: Any, max_text_tokens: int) -> list[int]:
    if segment.trusted:
        ids: list[int] = tokenizer(segment.text, add_special_tokens=False).input_ids
        return ids
    if segment.is_example:
        return _encode_at_most(segment.text, tokenizer, max_text_tokens)[0]
    return encode_text(segment.text, tokenizer)


def _encode_at_most(text: str, tokenizer: Any, limit: int) -> tuple[list[int], bool]:
    """Encode a text to `limit` tokens at most; also return whether its middle was left out."""
    # A token is rarely over 32 characters: far longer texts need not be encoded whole to be cut.
    shorter = _cut_characters(text, limit * 32)
    ids = encode_text(shorter, tokenizer)
    return _cut_middle(ids, limit), len(ids) > limit or shorter != text


def _cut_characters(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} {text[-(limit // 2) :]}"


def _cut_middle(ids: list[int], limit: int) -> list[int]:
    if len(ids) <= limit:
        return ids
    return [*ids[: limit - limit // 2], *ids[len(ids) - limit // 2 :]]


def _added_tokens(tokenizer: Any) -> re.Pattern[str]:
    pattern: re.Pattern[str] | None = getattr(tokenizer, "_handful_added_tokens", None)
    if pattern is None:
        # A look-ahead finds every place where one starts, also inside another.
        pattern = re.compile(f"(?={'|'.join(map(re.escape, _spellings(tokenizer))) or '(?!)'})")
        tokenizer._handful_added_tokens = pattern
    return pattern


def _spellings(tokenizer: Any) -> tuple[str, ...]:
    # One-character spellings cannot be cut inside; real control tokens are longer.
    return tuple(sorted((t for t in tokenizer.get_added_vocab() if len(t) > 1), key=lambda t: (-len(t), t)))


_HOLE = "\ue000{}\ue001"
"""Private-use characters mark where user text goes into a rendered chat template."""


def _chat_segments(prompt: Prompt, tokenizer: Any) -> tuple[list[Segment], list[Segment]]:
    """Render the chat template around holes and fill them, so that no user text ever passes through it."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError("this model has no chat template", mend="Use prompt.format=plain.")
    query = [] if prompt.query is None else [Segment("")]
    parts = [*prompt.prefix, *query, *prompt.suffix]
    content = "".join(_HOLE.format(index) for index in range(len(parts)))
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    pieces = re.split("\ue000(\\d+)\ue001", rendered)
    if [int(number) for number in pieces[1::2]] != list(range(len(parts))):
        raise ModelError("this model's chat template changes the message", mend="Use prompt.format=plain.")
    segments: list[Segment] = [Segment(pieces[0], trusted=True)]
    for number, after in zip(pieces[1::2], pieces[2::2], strict=True):
        segments += [parts[int(number)], Segment(after, trusted=True)]
    if prompt.answer_start:
        segments.append(Segment(prompt.answer_start))
    if prompt.query is None:
        return segments, []
    hole = 1 + 2 * len(prompt.prefix)
    return segments[:hole], segments[hole + 1 :]
