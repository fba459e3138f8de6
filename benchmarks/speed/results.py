"""The result file: figures at the top, and under `parts` each part's repeats with the commit and date it was taken at.

A part measured anew replaces its entry, so that a long benchmark can be taken in several goes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed import machine
from benchmarks.speed.settings import PartResult, Settings

FIGURES = (
    "classify_vs_icl_plain",
    "classify_vs_zero_shot_plain",
    "classify_vs_decision_pipeline",
    "classify_gemm_share",
    "classify_int8_speedup",
    "classify_int8_agreement",
    "classify_time_vs_setfit",
    "generate_vs_hf",
    "generate_vs_llama_cpp",
    "train_vs_hf_label",
    "train_vs_hf_paper",
    "run_vs_script",
    "run_trec_seconds",
    "run_trec_peak_gb",
    "first_answer_seconds",
)
"""The keys every result has; null is not measured. Parts may add more, such as a figure by set."""


def entry(result: PartResult, settings: Settings, command: str, seconds: float) -> dict[str, Any]:
    """Return what the file keeps of one part."""
    return {
        "figures": dict(result.figures),
        "measurements": dict(result.measurements),
        "notes": list(result.notes),
        "repeats": settings.repeats,
        "quick": settings.quick,
        "command": command,
        "commit": machine.commit(),
        "date": machine.now(),
        "seconds": round(seconds, 1),
        "machine": machine.machine(),
        "versions": machine.all_versions(),
    }


def merged(old: Mapping[str, Any] | None, new: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Put newly measured parts into a result.

    Args:
        old: A result file's content, None if there is none.
        new: Entries by part name.

    Returns:
        All figures, those of all parts together, then machine, versions, commit, command and date of the newest
        part, then the parts.
    """
    parts = {**(old or {}).get("parts", {}), **new}
    figures: dict[str, Any] = dict.fromkeys(FIGURES)
    for part in parts.values():
        figures |= part["figures"]
    newest: Mapping[str, Any] = max(parts.values(), key=lambda part: str(part["date"]), default={})
    about = {key: newest.get(key) for key in ("machine", "versions", "commit", "command", "date")}
    return {**figures, **about, "parts": parts}


def read(path: Path) -> dict[str, Any] | None:
    """Return the content of a result file, None if it is not there."""
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a result file; numbers are rounded to six figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(content), indent=1) + "\n", encoding="utf-8")


def rounded(value: Any) -> Any:
    """Return a JSON value with every float rounded to six significant figures."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return value
