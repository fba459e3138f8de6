from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from handful.errors import ModelError
from handful.llm.engine import LocalEngine, ScriptedEngine, open_engine
from handful.llm.local import LocalLLM
from handful.llm.scripted import ScriptedLLM


def test_names_choose_the_engine(tiny_model_dir: Path) -> None:
    assert open_engine("scripted") == ScriptedEngine()
    engine = open_engine(str(tiny_model_dir), device="cpu", dtype="float32", expected_fingerprint="x")
    assert engine == LocalEngine(str(tiny_model_dir), "cpu", "float32", False, "x")
    assert isinstance(open_engine("scripted").llm(max_text_tokens=9), ScriptedLLM)


def test_the_base_model_is_loaded_once(tiny_model_dir: Path) -> None:
    engine = open_engine(str(tiny_model_dir), device="cpu")
    llm = engine.llm(max_text_tokens=100)
    assert isinstance(llm, LocalLLM)
    assert llm.max_text_tokens == 100
    assert open_engine(str(tiny_model_dir), device="cpu").llm(max_text_tokens=100) is llm
    assert llm.fingerprint == engine.fingerprint()


def test_asking_for_control_tokens_loads_no_model(tiny_model_dir: Path) -> None:
    engine = open_engine(str(tiny_model_dir), device="cpu")
    llm = engine.llm(max_text_tokens=64)
    control = engine.control_tokens((" positive", " was"))
    assert control is not None
    assert "<think>" in control.spellings
    assert engine.control_tokens((" positive", " negative")) is None
    assert engine.llm(max_text_tokens=64) is llm
    assert open_engine("scripted").control_tokens((" a",)) is None


def test_a_missing_model_is_an_error_when_it_is_wanted() -> None:
    engine = open_engine("./nowhere")
    with pytest.raises(ModelError, match="no such directory"):
        engine.fingerprint()
    with pytest.raises(ModelError, match="no such directory"):
        engine.llm(max_text_tokens=9)


def test_choosing_an_engine_imports_no_torch() -> None:
    code = "import sys; from handful.llm.engine import open_engine; open_engine('a'); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "False"
