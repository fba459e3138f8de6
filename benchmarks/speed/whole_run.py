"""The whole job on TREC, 4 + 21 per class, from the examples to the classifier; against a straightforward script."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

from benchmarks.speed import child
from benchmarks.speed.models import MODEL
from benchmarks.speed.plain_script import Report, Request
from benchmarks.speed.progress import say
from benchmarks.speed.settings import PartResult, Settings
from benchmarks.speed.texts import few_shot_task
from handful.encoding import encode_text
from handful.llm.gguf_cache import dequantised
from handful.llm.loading import load_tokenizer
from handful.llm.sources import locate
from handful.recipe import PRESETS

_SET = "trec"
_EPOCHS = 3
"""The script learns for so many; its training time is scaled to the paper's 100."""
_WANTED = 21
_LIKE_THE_SCRIPT = (
    f"generate.synthetic_per_label={_WANTED}",
    "generate.max_candidates_per_label=256",
    "generate.demonstrations_per_prompt=2",
    "filter.judge=in_context",
    "filter.judges=1",
    "filter.cross_fit=true",
    "filter.calibration=match",
    "filter.relabel=false",
    "train.learning_rate=0.001",
    "train.max_steps=300",
    "train.soft_targets=false",
    "train.lora_layer_share=1",
    "train.real_weight=2",
)
"""The paper's way, as the script goes it: the LLM judges in context, and what it disagrees with is dropped."""
_QUICK = ("--set", "generate.synthetic_per_label=1", "--set", "generate.batch_size=2", "--set", "generate.max_rounds=1")
_QUICK_TRAINING = ("--set", "train.epochs=1", "--set", "train.min_steps=2")


def measure(settings: Settings) -> PartResult:
    """Return `run_trec_seconds`, `run_trec_peak_gb` and `run_vs_script`; one run of each, the script right after."""
    directory = settings.scratch / "whole-run"
    shutil.rmtree(directory, ignore_errors=True)
    command = [sys.executable, "-m", "handful", "train", _SET, "--seed", "0", "--dtype", "float32"]
    command += ["--run", str(directory)]
    command += [part for change in _LIKE_THE_SCRIPT for part in ("--set", change)]
    ours = child.run([*command, *(_QUICK + _QUICK_TRAINING if settings.quick else ())])
    written = candidates_by_label(directory / "candidates.jsonl")
    say(f"ours: {ours.seconds:.0f} s, {ours.peak_gb:.2f} GB, {sum(written.values())} texts written")
    request = Request(
        model=_folder(),
        task=_SET,
        wanted=1 if settings.quick else _WANTED,
        most_candidates=written,
        max_new_tokens=_max_new_tokens(),
        epochs=1 if settings.quick else _EPOCHS,
    )
    script = [sys.executable, "-m", "benchmarks.speed.plain_script"]
    theirs = child.run(script, json.dumps(dataclasses.asdict(request)))
    report = Report(**json.loads(theirs.stdout.strip().splitlines()[-1]))
    whole = scaled(theirs.seconds, report.train_seconds, request.epochs, PRESETS["paper"].train.epochs)
    as_ours = scaled(theirs.seconds, report.train_seconds, request.epochs, PRESETS["default"].train.epochs)
    say(f"script: {theirs.seconds:.0f} s, {theirs.peak_gb:.2f} GB; {whole:.0f} s with all epochs")
    return PartResult(
        {
            "run_trec_seconds": ours.seconds,
            "run_trec_peak_gb": ours.peak_gb,
            "run_vs_script": whole / ours.seconds,
            "run_vs_script_with_our_epochs": as_ours / ours.seconds,
            "script_peak_gb": theirs.peak_gb,
        },
        {
            "ours": {"seconds": ours.seconds, "peak_gb": ours.peak_gb, "written": written},
            "script": {
                "seconds": theirs.seconds,
                "seconds_with_100_epochs": whole,
                "seconds_with_our_epochs": as_ours,
                "epochs_run": request.epochs,
                **dataclasses.asdict(report),
            },
        },
        (
            f"The script trained for {request.epochs} epochs; its training time is scaled to the paper's 100 "
            f"({PRESETS['default'].train.epochs} in run_vs_script_with_our_epochs).",
            "The script writes at most as many texts per label as ours wrote.",
        ),
    )


def scaled(seconds: float, training: float, epochs: int, wanted: int) -> float:
    """Return what a run would take with another number of epochs."""
    return seconds - training + training * wanted / epochs


def candidates_by_label(path: Path) -> dict[str, int]:
    """Return how many texts a run wrote for each label."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(Counter(str(json.loads(line)["intended_label"]) for line in lines))


def _folder() -> str:
    source = locate(MODEL)
    return str(dequantised(Path(source.location))) if source.is_gguf else source.location


def _max_new_tokens() -> int:
    """Return our own limit: twice the longest example."""
    tokenizer = load_tokenizer(MODEL)
    longest = max(len(encode_text(example.text, tokenizer)) for example in few_shot_task(_SET).examples)
    return min(PRESETS["default"].prompt.max_text_tokens, 2 * longest + 8)
