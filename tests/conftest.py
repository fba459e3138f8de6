"""What several test modules need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the benchmark sets; without it tests are skipped, but never silently in CI."""
    named = os.environ.get("HANDFUL_DATA")
    root = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not (root / "sst2" / "train.csv").is_file():
        reason = "the benchmark sets are not here: set HANDFUL_DATA to their folder"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root
