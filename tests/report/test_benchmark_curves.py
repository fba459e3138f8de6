from __future__ import annotations

import pytest

from handful.report.benchmark_curves import accuracy_curve

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
