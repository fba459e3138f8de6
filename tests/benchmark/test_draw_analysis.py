from __future__ import annotations

from typing import Any, cast

from handful.benchmark.draw_analysis import _WrittenDraw
from handful.records import Candidate, Verdict


def test_the_first_kept_texts_are_those_that_are_learnt_first() -> None:
    # Written label by label; the first text of each is moved to the other label.
    candidates = [Candidate(f"0-{label}-{n}", f"{label}{n}", "ab"[label], 0, "p") for label in (0, 1) for n in (0, 1)]
    verdicts = [
        Verdict(c.id, "kept" if c.id.endswith("1") else "relabelled", "r", "ab"[int(c.id[2]) ^ (c.id[-1] == "0")])
        for c in candidates
    ]
    draw = _WrittenDraw(cast("Any", None), candidates, verdicts)
    assert draw.kept == [("00", "b"), ("10", "a"), ("01", "a"), ("11", "b")]
