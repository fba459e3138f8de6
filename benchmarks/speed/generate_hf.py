"""Writing texts with `LocalLLM.generate`, against `model.generate`."""

from __future__ import annotations

import dataclasses

import torch

from benchmarks.speed.alternate import Measurement, alternate, timed
from benchmarks.speed.generation_work import Work, kept, line, n_tokens, sampling, stop_ids, work
from benchmarks.speed.hf_generate import BATCH, hf_generate
from benchmarks.speed.models import load_base
from benchmarks.speed.settings import DisagreementError, PartResult, Settings
from handful.llm.local import LocalLLM

_MOST_DIFFERENT = 1
"""Greedy texts that may differ, of one for each label: where two tokens are about as likely, rounding decides."""


def measure(settings: Settings) -> PartResult:
    """Return `generate_vs_hf`: tokens kept a second, ours over theirs, on the same prompts with the same sampling."""
    loaded = load_base()
    ours = LocalLLM(loaded)
    how = sampling(ours)
    if settings.quick:
        how = dataclasses.replace(how, max_new_tokens=12)
    stop = stop_ids(loaded.tokenizer, loaded.model.config.vocab_size)
    ends = frozenset(stop)

    def theirs(todo: Work, *, rows: int, greedy: bool = False) -> list[list[int]]:
        torch.manual_seed(todo.seed)
        prompts = [ids for ids in todo.ids(loaded.tokenizer) for _ in range(rows)]
        written = hf_generate(
            loaded.model,
            prompts,
            stop,
            pad=loaded.tokenizer.pad_token_id,
            max_new_tokens=how.max_new_tokens,
            top_k=how.top_k,
            temperature=how.temperature,
            greedy=greedy,
        )
        return [kept(row, ends) for row in written]

    # Prompts of a repeat that is not measured: greedy texts are compared, and both sides are warm.
    first = work(settings.repeats, settings)
    greedy = dataclasses.replace(how, top_k=1)
    our_lines = [g.text for g in ours.generate(first.prompts, [0] * len(first.prompts), greedy)]
    their_lines = [line(row, loaded.tokenizer) for row in theirs(first, rows=1, greedy=True)]
    different = sum(a != b for a, b in zip(our_lines, their_lines, strict=True))
    if different > _MOST_DIFFERENT:
        raise DisagreementError(f"{different} of {len(our_lines)} greedy texts differ from model.generate's")

    def our_side(repeat: int) -> Measurement:
        todo = work(repeat, settings)
        return timed(lambda: n_tokens(ours.generate(todo.repeated, todo.seeds, how)))

    def their_side(repeat: int) -> Measurement:
        todo = work(repeat, settings)
        return timed(lambda: sum(map(len, theirs(todo, rows=todo.rows_per_prompt))))

    comparison = alternate("model.generate", our_side, their_side, settings.repeats)
    facts = {
        "rows": len(first.repeated),
        "batch": BATCH,
        "max_new_tokens": how.max_new_tokens,
        "greedy_texts_that_differ": different,
    }
    return PartResult({"generate_vs_hf": comparison.ratio}, {**comparison.to_dict(), **facts})
