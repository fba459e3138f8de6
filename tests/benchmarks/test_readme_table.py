"""The README says of speed what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.speed.readme_table import sentences, table

PROJECT = Path(__file__).parents[2]


def test_the_readme_says_what_was_measured() -> None:
    content = json.loads((PROJECT / "benchmarks" / "results" / "speed.json").read_text(encoding="utf-8"))
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert table(content) in readme
    flowing = " ".join(readme.split())
    for sentence in sentences(content):
        assert sentence in flowing
