"""Writing texts with `LocalLLM.generate`, against llama.cpp on the same cores and the same file of 4-bit weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from benchmarks.speed.alternate import Measurement, alternate, timed
from benchmarks.speed.generation_work import kept, n_tokens, sampling, stop_ids, work
from benchmarks.speed.llama_cpp_peer import LlamaCpp, python_of_llama_cpp
from benchmarks.speed.models import MODEL, load_base
from benchmarks.speed.progress import say
from benchmarks.speed.settings import DisagreementError, PartResult, Settings
from handful.llm.local import LocalLLM
from handful.llm.protocol import Sampling
from handful.llm.sources import locate
from handful.prompts import Prompt

_WAYS = tuple({"slots": slots, "unified": unified} for slots in (64, 192) for unified in (True, False))
"""How llama.cpp may hold the rows; the fastest on the first prompts is what we are compared with."""
_LEAST_SAME = 4
"""Greedy first tokens that must be ours, of one for each of six labels: its products are rounded to 8 bits."""


def measure(settings: Settings) -> PartResult:
    """Return `generate_vs_llama_cpp`: tokens kept a second, ours over theirs; None where it is not built."""
    python = python_of_llama_cpp()
    if python is None:
        return PartResult({"generate_vs_llama_cpp": None}, notes=("not built: benchmarks/speed/llama_cpp.sh",))
    loaded = load_base()
    ours = LocalLLM(loaded)
    how = sampling(ours)
    if settings.quick:
        how = dataclasses.replace(how, max_new_tokens=12)
    stop = stop_ids(loaded.tokenizer, loaded.model.config.vocab_size)
    first = work(settings.repeats, settings)
    prompts = first.ids(loaded.tokenizer)
    longest = max(
        len(ids) for repeat in range(settings.repeats + 1) for ids in work(repeat, settings).ids(loaded.tokenizer)
    )
    configuration = {
        "model": locate(MODEL).location,
        "n_prompts": len(prompts),
        "prompt_tokens": longest,
        "max_new_tokens": how.max_new_tokens,
        "temperature": how.temperature,
        "stop": stop,
    }
    ways = _WAYS[::3] if settings.quick else _WAYS
    seconds: list[float] = []
    for way in ways:
        with LlamaCpp(python, {**configuration, **way}) as peer:
            peer.write(prompts, 1, top_k=how.top_k, seed=0)  # the weights are read from the disk
            seconds.append(peer.write(prompts, first.rows_per_prompt, top_k=how.top_k, seed=0)[1])
            say(f"llama.cpp, {way}: {seconds[-1]:.2f} s")
    best = ways[min(range(len(ways)), key=seconds.__getitem__)]

    with LlamaCpp(python, {**configuration, **best}) as peer:
        same = _same_first_tokens(peer, ours, prompts, first.prompts, loaded.tokenizer, how)

        def our_side(repeat: int) -> Measurement:
            todo = work(repeat, settings)
            return timed(lambda: n_tokens(ours.generate(todo.repeated, todo.seeds, how)))

        def their_side(repeat: int) -> Measurement:
            todo = work(repeat, settings)
            ids = todo.ids(loaded.tokenizer)
            rows, taken = peer.write(ids, todo.rows_per_prompt, top_k=how.top_k, seed=repeat + 1)
            return Measurement(sum(len(kept(row, frozenset(stop))) for row in rows), taken)

        comparison = alternate("llama.cpp", our_side, their_side, settings.repeats)
        version = peer.version
    facts = {
        "llama_cpp_python": version,
        "way": best,
        "seconds_by_way": [{**way, "seconds": s} for way, s in zip(ways, seconds, strict=True)],
        "same_greedy_first_tokens": same,
        "rows": len(first.repeated),
        "max_new_tokens": how.max_new_tokens,
    }
    return PartResult({"generate_vs_llama_cpp": comparison.ratio}, {**comparison.to_dict(), **facts})


def _same_first_tokens(
    peer: LlamaCpp,
    ours: LocalLLM,
    ids: Sequence[Sequence[int]],
    prompts: Sequence[Prompt],
    tokenizer: Any,
    how: Sampling,
) -> int:
    """Return for how many prompts the likeliest first token is the same, and warm both sides.

    Raises:
        DisagreementError: For too few: the prompts or the weights are not the same.
    """
    rows, _ = peer.write(ids, 1, top_k=1, seed=0)
    greedy = ours.generate(prompts, [0] * len(prompts), dataclasses.replace(how, top_k=1, max_new_tokens=1))
    first_tokens: list[str] = [
        tokenizer.decode(row[:1], skip_special_tokens=True).split("\n", 1)[0].strip() for row in rows
    ]
    same = sum(int(a == b.text) for a, b in zip(first_tokens, greedy, strict=True))
    if same < _LEAST_SAME:
        raise DisagreementError(f"llama.cpp begins only {same} of {len(prompts)} greedy texts as we do")
    return same
