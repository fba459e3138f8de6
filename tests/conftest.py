"""What several test modules need."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tiny import make_tiny_model

if TYPE_CHECKING:
    from handful.llm.loading import LoadedModel

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub client is first imported: no test may ask the hub


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the benchmark sets; without it tests are skipped, but never silently in CI."""
    named = os.environ.get("HANDFUL_DATA")
    beside = [folder / "shared" / "data" for folder in Path(__file__).resolve().parents]
    root = next((folder for folder in ([Path(named)] if named else beside) if _has_sets(folder)), None)
    if root is None:
        reason = "the benchmark sets are not here: set HANDFUL_DATA to their folder"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root


def _has_sets(folder: Path) -> bool:
    return (folder / "sst2" / "train.csv").is_file()


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real Llama of 2 layers with random weights, as a directory for `--model`."""
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny_loaded(tiny_model_dir: Path) -> LoadedModel:
    """The tiny Llama in memory. Training changes a model: load one of your own for that."""
    from handful.llm.loading import load_model

    return load_model(str(tiny_model_dir), device="cpu")
