from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from handful.prompts import (
    classification_prefix,
    classification_prompt,
    generation_prompt,
    one_line,
    targets,
    topic_prompt,
)
from tests.toys import prompt_pieces, two_label_task


def test_layout_of_the_judge() -> None:
    task = two_label_task()
    prompt = classification_prompt(classification_prefix(task, task.examples[:1]), " a\n b ")
    assert "".join(segment.text for segment in prompt_pieces(prompt)) == (
        "Classify the film review as one of the labels.\n"
        "Labels: positive, negative\n\n"
        "Text: a lovely warm story\nLabel: positive\n\n"
        "Text: a b\nLabel:"
    )
    assert targets(task) == (" positive", " negative")
    assert targets(task, "chat") == ("positive", "negative")


def test_layout_of_the_writer() -> None:
    task = two_label_task()
    prompt = generation_prompt(task, "good", task.examples[:1])
    assert "".join(segment.text for segment in prompt.prefix) == (
        "Few examples of film review texts with the label positive (the writer liked it) are given. "
        "Generate more film review texts with the label positive.\n\n"
        "Text: a lovely warm story\nLabel: positive\n\n"
        "Text:"
    )
    assert (prompt.query, prompt.suffix) == (None, ())
    plain = generation_prompt(task, "good", (), describe_label=False)
    assert "liked" not in "".join(segment.text for segment in plain.prefix)
    chat = generation_prompt(task, "good", task.examples[:1], prompt_format="chat")
    assert (chat.format, chat.answer_start) == ("chat", "Text:")
    assert not chat.prefix[-1].text.startswith("Text:")


def test_texts_that_are_called_texts_are_called_so_once() -> None:
    task = dataclasses.replace(two_label_task(), text_name="Text")
    prompts = (generation_prompt(task, "good", (), describe_label=False), topic_prompt(task, "good"))
    said = ["".join(segment.text for segment in prompt.prefix) for prompt in prompts]
    assert said[0].startswith(
        "Few examples of texts with the label positive are given. Generate more texts with the label positive."
    )
    assert said[1].startswith("Different topics of texts with the label positive")


def test_untrusted_pieces_are_never_trusted() -> None:
    task = two_label_task()
    for prompt in (
        classification_prompt(classification_prefix(task, task.examples), "x"),
        generation_prompt(task, "bad", task.examples),
    ):
        assert not any(segment.trusted for segment in prompt_pieces(prompt))


@given(st.text(alphabet=st.characters(exclude_categories=())))
@settings(max_examples=100, deadline=None)
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip() == one_line(line)
