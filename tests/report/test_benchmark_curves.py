from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from handful.report.benchmark_curves import accuracy_curve, diversity_curve

WRITTEN_ONCE = {f"lora_synthetic[first={size},200]": size for size in (10, 50, 200)}
WRITTEN_ANEW = {"lora_synthetic": 72, "lora_synthetic[21]": 21}


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        (WRITTEN_ONCE | WRITTEN_ANEW, ["10", "50", "200"]),
        (WRITTEN_ANEW | {"lora_synthetic[first=10,200]": 10}, ["10", "21", "72"]),
        (
            WRITTEN_ANEW | {"lora_synthetic[144]": 144, "lora_synthetic:10": 72, "lora_synthetic:25": 72},
            ["21", "72", "144"],
        ),
        (
            WRITTEN_ANEW
            | {"lora_synthetic[144]": 144}
            | {f"lora_synthetic[first={n},filter.judges=1]": n for n in (5, 6, 7)},
            ["21", "72", "144"],
        ),
    ],
)
def test_a_curve_is_of_the_same_texts_where_enough_sizes_are(sizes: dict[str, int], shown: list[str]) -> None:
    """Texts that were written anew for a size are another draw: the curve would dip for that."""
    methods = [{"spec": spec, "shots_per_label": 4, "synthetic_per_label": size} for spec, size in sizes.items()]
    score = {"calibration": "raw", "accuracy": 0.7}
    cells = [{"task": "films", "spec": spec, "seed": 0, "scores": [score]} for spec in sizes]
    curve = accuracy_curve({"task": "films", "methods": methods}, cells)
    assert curve is not None
    assert [row[1] for row in curve.table.rows] == shown


def test_trigrams_are_of_all_draws_of_a_way_of_writing() -> None:
    """A recipe fits N to a draw's texts: one draw of 72 among those of 36 was a line of one seed."""

    def draw(n: int, sizes: Sequence[int], *changes: str) -> dict[str, Any]:
        growth = [{"texts_per_label": size, "kept": n + 10 * size, "real": 20 * size} for size in sizes]
        return {"task": "films", "changes": list(changes), "synthetic_per_label": n, "growth": growth}

    draws = [draw(72, (4, 10, 25, 50)), draw(36, (4, 10, 25)), draw(24, (4,), "filter.judges=1")]
    curve = diversity_curve({"task": "films"}, draws)
    assert curve is not None
    kept = [row for row in curve.table.rows if row[0] == "written and kept"]
    assert kept[0] == ("written and kept", "4", "94", "76 to 112")
    assert kept[-1] == ("written and kept", "50", "572", "572 to 572")
