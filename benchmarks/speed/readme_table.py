"""The figures of speed in the docs: `python -m benchmarks.speed.readme_table` prints them from `speed.json`.

A test compares README.md and docs/speed.md with it: a figure there cannot be another than the measured one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.speed.machine import ROOT

_TOLD = ("a plain Hugging Face loop", "the same loop", "`model.generate`", "llama.cpp", "Trainer and peft, loss", "our")
"""How the rows begin that the README has."""
_NAMES = {"trec": "TREC", "sst2": "SST-2", "ag_news": "AG News"}


def summary(content: Mapping[str, Any]) -> str:
    """Return the rows of the table that the README has."""
    return _markdown([row for row in _rows(content) if row[0].startswith(_TOLD)])


def table(content: Mapping[str, Any]) -> str:
    """Return the table of ratios as Markdown."""
    return _markdown(_rows(content))


def _markdown(rows: Sequence[tuple[str, str]]) -> str:
    return "".join(f"| {left} | {right} |\n" for left, right in (("against", "ours is"), ("---", "---"), *rows))


def _rows(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (
            "a plain Hugging Face loop over the ICL-4 prompt, texts a second",
            _times(content, "classify_vs_icl_plain", 0),
        ),
        ("the same loop over the zero-shot prompt", _times(content, "classify_vs_zero_shot_plain_by_set")),
        (
            '`pipeline("decision")` one text at a time, with our adapter',
            f"{_times(content, 'classify_vs_decision_pipeline_by_set')}; ours one at a time too: "
            f"{_values(content, 'classify_vs_decision_pipeline_both_one_at_a_time')}",
        ),
        (
            "SetFit on MiniLM (22M); ours in bfloat16 with the lowest 10 of 30 layers (less accurate, see below)",
            f"{_by_set(content, 'classify_time_vs_setfit_by_set', 2)} of its time a text",
        ),
        ("`model.generate`, tokens kept a second", f"{content['generate_vs_hf']:.1f} times as fast"),
        ("llama.cpp with the Q4_1 file, tokens kept a second", f"{content['generate_vs_llama_cpp']:.1f} times as fast"),
        ("Trainer and peft, loss over the labels, examples a second", _times(content, "train_vs_hf_label_by_set")),
        ("Trainer and peft, recipe `paper`", _times(content, "train_vs_hf_paper_by_set")),
        (
            "a script of `model.generate`, an uncached filter and Trainer, TREC, the paper's 100 epochs",
            f"{content['run_vs_script']:.0f} times as fast; with our 8 epochs in the script "
            f"{content['run_vs_script_with_our_epochs']:.1f} times",
        ),
        *((f"our own float32, with `--precision {name}`", _precision(content, name)) for name in ("int8", "bfloat16")),
    ]


def sentences(content: Mapping[str, Any]) -> list[str]:
    """Return what is said below the table and the plot."""
    exponents = ", ".join(
        f"{name} {row['exponent']:.2f} ({row['exponent_at_the_end']:.2f})" for name, row in content["growth"].items()
    )
    return [
        f"TREC from examples to classifier took {content['run_trec_seconds']:.0f} s and "
        f"{content['run_trec_peak_gb']:.1f} GB, the script {content['script_peak_gb']:.1f} GB.",
        f"`handful predict` needs {content['first_answer_seconds']:.1f} s from start to first answer.",
        f"Matrix products run at {_percent(content['classify_gemm_share'], 0)} of what they reach alone (AG News).",
        f"Fitted exponents of the seconds (at the end of the sizes in brackets): {exponents}.",
    ]


def _values(content: Mapping[str, Any], key: str, digits: int = 1) -> str:
    return ", ".join(f"{content[key][name]:.{digits}f}" for name in _NAMES if name in content[key])


def _by_set(content: Mapping[str, Any], key: str, digits: int = 1) -> str:
    found = content[key]
    return ", ".join(f"{shown} {found[name]:.{digits}f}" for name, shown in _NAMES.items() if name in found)


def _times(content: Mapping[str, Any], key: str, digits: int = 1) -> str:
    return f"{_by_set(content, key, digits)} times as fast"


def _precision(content: Mapping[str, Any], name: str) -> str:
    agreement = content[f"classify_{name}_agreement_by_set"]
    kept = ", ".join(_percent(agreement[one], 1) for one in _NAMES)
    return f"{_times(content, f'classify_{name}_speedup_by_set', 2)}; {kept} of 1,000 texts keep their label"


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def main() -> None:
    """Print the README's rows, the table and the sentences."""
    content = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text(encoding="utf-8"))
    print(summary(content))
    print(table(content))
    print("\n".join(sentences(content)))


if __name__ == "__main__":
    main()
