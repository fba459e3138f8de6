from __future__ import annotations

import json
from pathlib import Path

from handful.cli.stopping import StopRequest
from handful.cli.watching import LineDisplay, Watch
from handful.run import open_run

MANIFEST: dict[str, dict[str, str]] = {"identity": {}, "environment": {}}


def test_what_was_done_before_a_stop_counts_once(tmp_path: Path) -> None:
    def started(stop: StopRequest) -> Watch:
        watch = Watch(LineDisplay(), stop)
        watch.keep_in(run)
        watch.start("write", 5, "texts")
        return watch

    def counted() -> int:
        stages = json.loads((tmp_path / "run" / "timings.json").read_text())["stages"]
        units: int = stages["write"]["units"]
        return units

    with open_run(tmp_path / "run", MANIFEST) as run:
        stop = StopRequest()
        watch = started(stop)
        watch.advance(2)
        assert not watch.stop_requested()
        stop.requested = True
        assert watch.stop_requested()
        assert watch.stop_requested()  # asked twice, recorded once
        assert counted() == 2
        watch = started(StopRequest())
        watch.skip(2)
        watch.advance(3)
        watch.finish("5 texts")
        assert counted() == 5
