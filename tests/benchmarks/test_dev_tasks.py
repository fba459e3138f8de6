from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy.dev_tasks import development_task, write_task
from handful.paper_sets import load_paper_set
from handful.task import load_task

pytestmark = pytest.mark.data


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    monkeypatch.setenv("HANDFUL_DATA", str(data_root))


@pytest.mark.parametrize("name", ["sst2", "trec"])
def test_development_texts_are_neither_examples_nor_test_texts(name: str, tmp_path: Path) -> None:
    task = development_task(name, 200)
    held_out, real = {e.text for e in task.test or ()}, load_paper_set(name)
    assert len(task.test or ()) == 200
    assert not held_out & {e.text for e in task.examples}
    if name == "trec":  # cut out of the training set, which shares no more than a few texts with the test set
        assert held_out <= {e.text for e in real.examples}
    assert load_task(write_task(task, tmp_path)).test == task.test
    assert development_task(name, 200) == task
