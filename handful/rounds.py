"""One round of writing and one of checking, in pieces that are saved one by one."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from handful.attributes import given_attributes, propose_topics
from handful.demonstrations import split_folds
from handful.generate import Batch, generate_candidates
from handful.job import Job
from handful.judge import Judge, joint_scores, open_judge
from handful.progress import Progress, stop_if_asked
from handful.recipe import Recipe
from handful.records import Attribute, Candidate, Example, LabelScores
from handful.run import Run, fingerprint

_WRITTEN_AT_ONCE = 192
"""Candidates written side by side, the unit that is saved: a step costs little more for many rows than for few."""
_CHARACTERS_AT_ONCE = 100_000
"""Of as many copies of the longest example: long texts are written fewer at once, since each one's states are kept."""
_JUDGED_AT_ONCE = 64
"""Candidates scored together, the unit that is saved. Fixed, because a score's last bits depend on its batch."""


def write_round(
    job: Job,
    run: Run,
    batches: Sequence[Batch],
    progress: Progress,
    before: Sequence[Candidate] = (),
    seconds: float = 0.0,
) -> tuple[list[Candidate], float]:
    """Let the LLM write every batch of a round, until the recipe's time is over.

    Args:
        job: Task, recipe, seed and base model.
        run: Where finished batches are saved.
        batches: The plan of the round.
        progress: Hears of it.
        before: The candidates of the rounds before; their words become less likely if the recipe says so.
        seconds: How long they took, where the recipe limits that.

    Returns:
        The new candidates, and how long all took: 0 where the recipe has no limit.

    Raises:
        Interrupted: The progress asked to stop; finished batches are saved.
        ModelError: A prompt does not fit the model.
    """
    progress.start(f"write, round {batches[0].round_index + 1}", sum(b.n_candidates for b in batches), "texts")
    written: list[Candidate] = []
    attributes = _attributes(job, run)
    settings, at_once = job.recipe.generate, _written_at_once(job)
    suppresses, limited = settings.logit_suppression > 0, settings.max_seconds is not None
    # What may end early takes the labels in turn, or the last ones would have nothing.
    for index, group in enumerate((_waves if suppresses or limited else _groups)(batches, at_once)):
        stop_if_asked(progress)
        if written and out_of_time(job.recipe, seconds):
            progress.warn(f"writing stopped after {seconds:.0f} s, generate.max_seconds is {settings.max_seconds:g}")
            break
        earlier, started = _by_label([*before, *written]) if suppresses else {}, time.monotonic()
        name = f"candidates-{batches[0].round_index}-{index}"
        written += _written(job, run, name, group, attributes, earlier, progress)
        if limited:
            seconds += _seconds(job, run, f"{name}-seconds", started)
    progress.finish(f"{len(written)} candidates written")
    return written, seconds


def out_of_time(recipe: Recipe, seconds: float) -> bool:
    """Return whether writing has taken longer than the recipe allows."""
    limit = recipe.generate.max_seconds
    return limit is not None and seconds > limit


def _seconds(job: Job, run: Run, name: str, started: float) -> float:
    """Return how long a piece took to write; what was once measured holds when the run goes on."""
    return float(run.step(name, [_inputs(job)], lambda: [{"seconds": time.monotonic() - started}])[0]["seconds"])


def judge_round(
    job: Job,
    run: Run,
    round_index: int,
    candidates: Sequence[Candidate],
    adapter_of: Callable[[int], Mapping[str, bytes]],
    progress: Progress,
) -> list[LabelScores]:
    """Let the judges score every label for the candidates of a round that passed screening.

    Args:
        job: Task, recipe, seed and base model.
        run: Where finished pieces are saved.
        round_index: Which round.
        candidates: What is judged.
        adapter_of: Returns what `tune_judge` returns for a judge; called when a piece of it is not on disk.
        progress: Hears of it.

    Returns:
        What they say together, a row per candidate.

    Raises:
        Interrupted: The progress asked to stop; finished pieces are saved.
        ModelError: The demonstrations do not fit the model.
    """
    # Those of one fold share a prompt prefix.
    in_order = sorted(candidates, key=lambda candidate: candidate.fold)
    parts = [in_order[start : start + _JUDGED_AT_ONCE] for start in range(0, len(in_order), _JUDGED_AT_ONCE)]
    judges = range(job.recipe.filter.judges)
    return joint_scores([_heard(job, run, round_index, index, parts, adapter_of, progress) for index in judges])


def _heard(
    job: Job,
    run: Run,
    round_index: int,
    index: int,
    parts: Sequence[Sequence[Candidate]],
    adapter_of: Callable[[int], Mapping[str, bytes]],
    progress: Progress,
) -> list[LabelScores]:
    """Let one judge score the parts of a round. Its model is let go of at the end: the next one's takes its place."""
    names = [f"scores-{round_index}-{index}-{piece}" for piece in range(len(parts))]
    if not all(map(run.has_step, names, [_judge_inputs(job, part) for part in parts])):
        adapter_of(index)  # has a stage of its own, so before this one begins
    judge = functools.cache(lambda: open_judge(job, index, adapter_of(index)))
    which = f", judge {index + 1}" if job.recipe.filter.judges > 1 else ""
    n_texts = sum(map(len, parts))
    progress.start(f"check, round {round_index + 1}{which}", n_texts, "texts")
    scores: list[LabelScores] = []
    for name, part in zip(names, parts, strict=True):
        stop_if_asked(progress)
        scores += _judged(job, run, name, part, judge, progress)
    progress.finish(f"{n_texts} candidates checked")
    return scores


def _written_at_once(job: Job) -> int:
    # Characters, since tokens are known only once the model is loaded: a run that goes on may not need it.
    longest = max(len(example.text) for example in job.task.examples)
    return min(_WRITTEN_AT_ONCE, _CHARACTERS_AT_ONCE // max(1, longest))


def _groups(batches: Sequence[Batch], at_once: int) -> Iterator[list[Batch]]:
    """Cut a round into what is written side by side: at most so many texts, one batch at least."""
    group: list[Batch] = []
    for batch in batches:
        if group and sum(b.n_candidates for b in group) + batch.n_candidates > at_once:
            yield group
            group = []
        group.append(batch)
    yield group


def _waves(batches: Sequence[Batch], at_once: int) -> Iterator[list[Batch]]:
    """Cut a round so that each label has one batch at a time: it can then avoid the words of the ones before."""
    for index in range(max(batch.index for batch in batches) + 1):
        yield from _groups([batch for batch in batches if batch.index == index], at_once)


def _by_label(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for candidate in candidates:
        texts.setdefault(candidate.intended_label, []).append(candidate.text)
    return texts


def _attributes(job: Job, run: Run) -> dict[str, tuple[Attribute, ...]]:
    """Return what each label's texts are asked to differ in; the LLM is asked once."""
    if job.recipe.generate.attributes != "llm":
        return given_attributes(job.task, job.recipe)

    def work() -> list[dict[str, Any]]:
        found = propose_topics(job.llm(), job.task, job.recipe, job.seed)
        return [{"label": label, "attributes": [entry.to_row() for entry in own]} for label, own in found.items()]

    rows = run.step("attributes", _inputs(job), work)
    return {row["label"]: tuple(map(Attribute.from_row, row["attributes"])) for row in rows}


def _written(
    job: Job,
    run: Run,
    name: str,
    batches: Sequence[Batch],
    attributes: Mapping[str, Sequence[Attribute]],
    earlier: Mapping[str, Sequence[str]],
    progress: Progress,
) -> list[Candidate]:
    done = progress.skip

    def work() -> list[dict[str, Any]]:
        nonlocal done
        done = progress.advance
        candidates = generate_candidates(
            job.llm(), job.task, job.recipe, batches, _folds(job), job.seed, attributes=attributes, earlier=earlier
        )
        return [candidate.to_row() for candidate in candidates]

    inputs = [_inputs(job), list(batches), {label: fingerprint(list(texts)) for label, texts in earlier.items()}]
    candidates = [Candidate.from_row(row) for row in run.step(name, inputs, work)]
    done(len(candidates))
    return candidates


def _judged(
    job: Job, run: Run, name: str, part: Sequence[Candidate], judge: Callable[[], Judge], progress: Progress
) -> list[LabelScores]:
    done = progress.skip

    def work() -> list[dict[str, Any]]:
        nonlocal done
        done = progress.advance
        return [scores.to_row() for scores in judge()(part)]

    scores = [LabelScores.from_row(row) for row in run.step(name, _judge_inputs(job, part), work)]
    done(len(part))
    return scores


def _judge_inputs(job: Job, part: Sequence[Candidate]) -> list[object]:
    # How many tokens a text has is not judged: runs that did not count them go on with the scores they have.
    rows = [candidate.to_row() for candidate in part]
    return [_inputs(job), [{key: value for key, value in row.items() if key != "n_tokens"} for row in rows]]


def _folds(job: Job) -> tuple[tuple[Example, ...], ...]:
    return split_folds(job.task, job.seed, cross_fit=job.recipe.filter.cross_fit)


def _inputs(job: Job) -> str:
    """Return the fingerprint of what writing and judging depend on; changing the training leaves them standing."""
    recipe = job.recipe
    used = {"prompt": recipe.prompt, "generate": recipe.generate, "filter": recipe.filter}
    return fingerprint({**job.identity(), "recipe": used})
