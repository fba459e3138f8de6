"""What bounds the accuracy of ours: its judges, and the same texts with better labels, on a finished benchmark.

    python -m benchmarks.accuracy.bounds BENCHMARK TASK -o FOLDER [--seeds 5] [--test-limit 2000]
        [--precision float32] [--recipe default] [--model smollm2-135m]

BENCHMARK is the directory of a `handful benchmark TASK --methods ...,lora_synthetic,lora_real:full`; precision, recipe
and model are to be those it was measured with. For each draw of examples, on the same test texts:

- `judges`: the judges themselves answer. The classifier learns their labels, and seldom passes them.
- `oracle_labels`: the classifier tuned on the texts as they were written, with the oracle's labels. What is missing to
  this is due to the labels, what this misses to `lora_real:full` is due to the texts.

FOLDER/bounds.csv has a row per draw and bound. The same command goes on after a stop; processes may share the seeds
(`--seeds 3-4`), with a folder each.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from handful import environment
from handful.benchmark.draw import draw_directory, oracle_directory
from handful.benchmark.plan import BenchmarkPlan, Cell
from handful.classifier import Classifier
from handful.cli.benchmark_command import seeds_of
from handful.cli.options import PAPER_SHOTS, limit_test, named_task
from handful.cli.stopping import stopping_gently
from handful.cli.watching import watching
from handful.errors import HandfulError, RunError
from handful.evaluation.methods import METHODS, ORACLE, OURS
from handful.job import Job
from handful.judge import dismiss_judges, joint_scores, open_judge, tune_judge
from handful.llm.engine import open_engine
from handful.llm.protocol import Precision
from handful.llm.sources import PACKAGED
from handful.progress import Progress
from handful.recipe import PRESETS
from handful.records import Candidate, Verdict
from handful.run import Run, open_run, read_jsonl, read_manifest
from handful.storage.directories import SUMS
from handful.storage.jsonl import read_json
from handful.task import Task
from handful.training_set import training_rows
from handful.tuning import checkpoint_key, train_files, tuned_classifier

COLUMNS = ("task", "bound", "seed", "n_test", "accuracy", "commit")


def measure(cell: Cell, benchmark: Path, run: Run, progress: Progress) -> list[dict[str, Any]]:
    """Return the bounds of one draw, a row each.

    Args:
        cell: Ours, on the draw.
        benchmark: The finished benchmark's directory.
        run: Where finished pieces are kept.
        progress: Hears of it.
    """
    job = cell.handful()
    oracle = benchmark / oracle_directory(cell)
    drawn = benchmark / draw_directory(cell)
    check_draw(drawn, job.task)
    candidates = [Candidate.from_row(row) for row in read_jsonl(drawn / "candidates.jsonl")]
    verdicts = [Verdict.from_row(row) for row in read_jsonl(drawn / "verdicts.jsonl")]
    made_of = [candidate.text for candidate in candidates], (oracle / SUMS).read_text()
    known = [job.identity(), cell.task.test_fingerprint(), *made_of]

    def row(bound: str, predicted: Sequence[str]) -> list[dict[str, Any]]:
        gold = [example.label for example in cell.task.test or ()]
        accuracy = float(np.mean([one == other for one, other in zip(predicted, gold, strict=True)]))
        commit = environment.commit()
        values = (cell.task.name, bound, cell.seed, len(gold), accuracy, commit)
        return [dict(zip(COLUMNS, values, strict=True))]

    def with_oracle() -> list[dict[str, Any]]:
        texts = {candidate.id: candidate.text for candidate in candidates}
        judged = [verdict.candidate_id for verdict in verdicts if verdict.log_probs]
        labels = Classifier.tuned_by(job.engine, oracle).predict([texts[key] for key in judged])
        relabelled = as_said(job.task, verdicts, dict(zip(judged, labels, strict=True)))
        rows = training_rows(job.task, job.recipe, candidates, relabelled)
        files = train_files(job, rows, run, progress, stage="train")
        run.clear_checkpoints(checkpoint_key(job, rows, "train"))
        return row("oracle_labels", tuned_classifier(job, files).predict(_texts(cell.task)))

    found = [
        *run.step(f"judges-{cell.seed}", known, lambda: row("judges", judges_answers(job, run, progress))),
        *run.step(f"oracle-labels-{cell.seed}", known, with_oracle),
    ]
    dismiss_judges(job, run)
    return found


def check_measured_alike(benchmark: Path, plan: BenchmarkPlan) -> None:
    """Check that a benchmark was measured as a plan is: the folders of its draws are called alike however it was.

    Raises:
        RunError: It was measured with another recipe, model, precision or number of examples; names what differs.
    """
    stored, own = read_manifest(benchmark)["identity"], plan.identity()
    of_other_methods = {"full_epochs", "encoder"}
    differing = sorted(key for key in {*stored, *own} - of_other_methods if stored.get(key) != own.get(key))
    if differing:
        raise RunError(
            f"was measured with another {', '.join(differing)}",
            where=str(benchmark),
            mend=f"Its bounds need what it was measured with, and {plan.shots_per_label} examples of each label.",
        )


def check_draw(drawn: Path, task: Task) -> None:
    """Check that a draw is of a task's examples.

    Raises:
        RunError: It is of others, or is not there.
    """
    stored, own = read_json(drawn / "task.json") or {}, task.to_dict()
    if any(stored.get(key) != own[key] for key in ("labels", "examples")):
        raise RunError("is a draw of other examples", where=str(drawn), mend="Give the task the benchmark was made of.")


def as_said(task: Task, verdicts: Sequence[Verdict], labels: Mapping[str, str]) -> list[Verdict]:
    """Return the verdicts as they were if these labels, by candidate, had been the judges', without a doubt."""

    def said(verdict: Verdict) -> Verdict:
        label = labels.get(verdict.candidate_id)
        if label is None:
            return verdict
        certain = tuple(float(name == label) for name in task.label_names)
        return dataclasses.replace(verdict, decision="kept", label=label, label_probabilities=certain)

    return [said(verdict) for verdict in verdicts]


def judges_answers(job: Job, run: Run, progress: Progress) -> list[str]:
    """Return the labels that a job's judges together give its test texts."""
    asked = [Candidate(str(i), text, job.task.label_names[0], 0, "", 0) for i, text in enumerate(_texts(job.task))]
    heard = []
    for index in range(job.recipe.filter.judges):
        judge = open_judge(job, index, tune_judge(job, index, run, progress))
        progress.start(f"answer, judge {index + 1}", len(asked), "texts")
        heard.append(judge(asked))
        progress.advance(len(asked))
        progress.finish(f"{len(asked)} texts")
    best = np.array([score.log_probs for score in joint_scores(heard)]).argmax(axis=1)
    return [job.task.label_names[index] for index in best]


def _texts(task: Task) -> list[str]:
    return [example.text for example in task.test or ()]


def main(arguments: Sequence[str]) -> int:
    """Measure the bounds of every draw; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.bounds", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("task")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", default="5")
    parser.add_argument("--test-limit", type=int)
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--recipe", choices=PRESETS, default="default")
    parser.add_argument("--model", default=PACKAGED)
    options = parser.parse_args(arguments)
    task = named_task(options.task, None)
    if options.test_limit is not None:
        task = limit_test(task, options.test_limit)
    methods, seeds = (METHODS[OURS], ORACLE), seeds_of(options.seeds)
    engine = open_engine(options.model, precision=options.precision)
    plan = BenchmarkPlan((task,), methods, seeds, PRESETS[options.recipe], engine, PAPER_SHOTS)
    check_measured_alike(options.benchmark, plan)
    rows: list[dict[str, Any]] = []
    manifest = {"identity": plan.identity(), "environment": environment.environment()}
    with (
        stopping_gently() as stop,
        watching(stop, as_json=False) as progress,
        open_run(options.output, manifest) as run,
    ):
        for seed in plan.seeds:
            rows += measure(Cell(plan, task, METHODS[OURS], seed), options.benchmark, run, progress)
            run.publish_file("bounds.csv", as_csv(rows))
    return 0


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the rows as a CSV file."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HandfulError as error:
        sys.exit(str(error))
