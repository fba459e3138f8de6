"""Prompts in, token ids out: segment by segment, so that no text changes how another is cut into tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handful.errors import ModelError, PromptTooLongError
from handful.prompts import LABEL_FIELD, TEXT_FIELD, Prompt, Segment

_HEADS_KEPT = 64
"""Encoded beginnings of prompts that are remembered."""
_HOLE = "\ue000{}\ue001"
"""Private-use characters mark where user text goes into a rendered chat template."""


@dataclass(frozen=True)
class EncodedPrompt:
    """Token ids of a prompt."""

    prefix_ids: tuple[int, ...]
    suffix_ids: tuple[int, ...]
    cut: bool
    """Whether the middle of the query was left out."""


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
    marker, pieces = tokenizer.all_special_tokens[0], (TEXT_FIELD, " one", LABEL_FIELD)
    between = [tokenizer.convert_tokens_to_ids(marker)]
    together = tokenizer(marker.join(pieces), add_special_tokens=False).input_ids
    apart = [encode_text(piece, tokenizer) for piece in pieces]
    if together != [*apart[0], *between, *apart[1], *between, *apart[2]]:
        return None
    return ControlTokens("".join(tokenizer.convert_ids_to_tokens(tokenizer("").input_ids)), _spellings(tokenizer))


def encode(
    prompt: Prompt, tokenizer: Any, *, max_text_tokens: int, context_length: int = 1 << 30, room: int = 0
) -> EncodedPrompt:
    """Encode a prompt segment by segment; a query or example of more than `max_text_tokens` loses its middle.

    Raises:
        PromptTooLongError: The prompt and `room` more tokens are longer than `context_length` tokens.
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
    n_tokens = len(prefix_ids) + len(suffix_ids)
    if n_tokens + room > context_length:
        behind = f" and {room} behind it" if room else ""
        raise PromptTooLongError(
            f"the prompt has {n_tokens} tokens{behind}, the model reads {context_length}",
            mend=(
                f"Cut texts shorter in their middle (--set prompt.max_text_tokens={max(8, max_text_tokens // 2)}), use "
                "fewer shots per label (--shots-per-label), shorter label names, or a model with a longer context."
            ),
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
