from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed.growth import row
from benchmarks.speed.growth_axes import axes
from benchmarks.speed.settings import Settings
from handful.llm.loading import LoadedModel


@pytest.mark.data
def test_every_axis_can_be_measured(
    tiny_loaded: LoadedModel, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDFUL_DATA", str(data_root))
    found = axes(Settings(1, quick=True, scratch=tmp_path), tiny_loaded, tiny_loaded)
    assert {axis.name for axis in found if axis.must_be_linear} == {"texts", "texts, tiny model", "N"}
    for axis in found:
        # The tiny model reads 2,048 tokens of hardly more than a letter each: the small sizes fit.
        seconds = [axis.run(size) for size in axis.sizes]
        assert all(value > 0 for value in seconds), axis.name
        assert row(axis, seconds)["seconds"] == seconds
    labels = next(axis for axis in found if axis.name == "labels")
    assert labels.run(20) > 0


def test_a_row_tells_sizes_seconds_and_exponents(tmp_path: Path, tiny_loaded: LoadedModel) -> None:
    axis = axes(Settings(1, quick=True, scratch=tmp_path), tiny_loaded, tiny_loaded)[0]
    line = row(axis, [1.0, 10.0])
    assert line["sizes"] == [100, 1000]
    assert line["exponent"] == pytest.approx(1)
    assert line["exponent_at_the_end"] == pytest.approx(1)
    assert line["must_be_linear"]


def test_the_plot_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.speed.growth_plot import plot

    line = {"unit": "texts", "sizes": [0, 1, 10], "seconds": [1.0, 2.0, 20.0], "exponent": 1.0}
    for name in ("a", "b"):
        plot(dict.fromkeys(("one", "two", "three", "four"), line), tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
