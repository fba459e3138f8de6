"""The README's table of accuracy is made of the measured cells."""

from __future__ import annotations

from pathlib import Path

from benchmarks.accuracy.readme_table import read, table

PROJECT = Path(__file__).parents[2]


def test_the_readme_shows_the_table_as_it_came_out() -> None:
    assert table(read()) in (PROJECT / "README.md").read_text(encoding="utf-8")


def row(method: str, accuracy: float, seed: int = 0, **other: str) -> dict[str, str]:
    synthetic = "72" if method.startswith("lora_synthetic") else "0"
    if other.get("recipe", "").endswith("=21"):
        synthetic = "21"
    plain = {"task": "trec", "shots_per_label": "4", "recipe": "default", "calibration": "raw", "seed": str(seed)}
    return {**plain, "method": method, "synthetic_per_label": synthetic, "accuracy": str(accuracy), **other}


def test_a_line_is_a_method_and_its_mean_over_the_seeds() -> None:
    rows = [
        row("lora_synthetic", 0.65, recipe="accurate", synthetic_per_label="144"),
        row("lora_synthetic", 0.5),
        row("lora_synthetic", 0.7, seed=1),
        row("lora_synthetic", 0.6, calibration="pool"),
        row("lora_synthetic", 0.9, calibration="test"),
        row("lora_synthetic", 0.1, recipe="default+generate.num_beams=2"),
        row("lora_synthetic", 0.55, recipe="default+generate.synthetic_per_label=21"),
        row("lora_synthetic", 0.2, recipe="default+first=21+generate.synthetic_per_label=200"),
        row("lora_real", 0.3, recipe="accurate"),
        row("lora_real", 0.8, shots_per_label="full"),
        row("lora_real", 0.4, shots_per_label="25"),
        row("lora_real", 0.5, shots_per_label="25", seed=1),
        row("lora_real", 0.3, shots_per_label="50"),
    ]
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table(rows).splitlines()]
    assert lines[0] == ["method", "TREC (calibrated)", "ours less it"]
    accurate = "ours (4 + 144), recipe `accurate`"
    assert [line[0] for line in lines[2:]] == ["LoRA-25", "LoRA-full", "ours (4 + 21)", "ours (4 + 72)", accurate]
    trec = {line[0]: line[1:3] for line in lines[2:]}
    assert trec["ours (4 + 21)"] == ["0.550", "-5.0"]
    assert trec["ours (4 + 72)"] == ["0.600 ± 0.141 (0.600)", "\u2013"]
    assert trec[accurate] == ["0.650", "-15.0"]
    assert trec["LoRA-full"] == ["0.800", "-30.0"]
    # Gains of 0.1 and 0.2: t(0.975, 1 degree) is 12.706, the standard error 0.05.
    assert trec["LoRA-25"] == ["0.450 ± 0.071", "+15.0 (-48.5 to +78.5)"]


def test_a_line_is_of_one_recipe_whatever_the_texts_of_a_task_make_of_its_number() -> None:
    rows = [row("lora_synthetic", 0.5), row("lora_synthetic", 0.8, task="ag_news", synthetic_per_label="36")]
    (line,) = table(rows).splitlines()[2:]
    assert line == "| ours (4 + 36 or 72) | 0.500 | \u2013 | 0.800 | \u2013 |"
