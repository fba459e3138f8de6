"""README.md and docs/speed.md say of speed what was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.speed.readme_table import sentences, summary, table

PROJECT = Path(__file__).parents[2]


def test_the_docs_say_what_was_measured() -> None:
    content = json.loads((PROJECT / "benchmarks" / "results" / "speed.json").read_text(encoding="utf-8"))
    assert summary(content) in (PROJECT / "README.md").read_text(encoding="utf-8")
    page = (PROJECT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert table(content) in page
    flowing = " ".join(page.split())
    for sentence in sentences(content):
        assert sentence in flowing
