from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch import Tensor

from handful.errors import ModelError
from handful.in_context_tuning import judge_plan
from handful.job import Job
from handful.llm import bodies, linear, lora
from handful.llm.engine import DtypeName, LocalEngine, ScriptedEngine, open_engine
from handful.llm.local import LocalLLM
from handful.llm.protocol import Precision
from handful.llm.scripted import ScriptedLLM
from tests.toys import MemoryStore, small_recipe, two_label_task


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


def recorded_precisions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the precision of every frozen layer that is made."""
    asked: list[str] = []
    frozen = linear.frozen_linear

    def layer(weight: Tensor, bias: Tensor | None = None, precision: Precision = "float32") -> linear.Linear:
        asked.append(precision)
        return frozen(weight, bias, precision)

    for module in (bodies, lora):
        monkeypatch.setattr(module, "frozen_linear", layer)
    return asked


@pytest.mark.parametrize(
    ("dtype", "cpu_has_it", "expected"),
    [("auto", True, "bfloat16"), ("auto", False, "float32"), ("float32", True, "float32")],
)
def test_tuning_and_judging_are_in_what_the_cpu_is_fastest_in(
    dtype: DtypeName,
    cpu_has_it: bool,
    expected: str,
    tiny_model_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = recorded_precisions(monkeypatch)
    monkeypatch.setattr(linear, "quick_precision", lambda: "bfloat16" if cpu_has_it else "float32")
    engine = open_engine(str(tiny_model_dir), device="cpu", dtype=dtype)
    files = engine.train(
        judge_plan(two_label_task(), small_recipe("filter.judge_epochs=1"), seed=0), MemoryStore(), lambda *_: False
    )
    assert set(asked) == {expected}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for quick in (True, False):  # a judge, and a classifier
        asked.clear()
        engine.tuned(tmp_path, max_text_tokens=64, quick=quick)
        assert set(asked) == {expected if quick else "float32"}


def test_what_was_asked_for_of_types_tells_runs_apart_and_where_they_run_does_not(tiny_model_dir: Path) -> None:
    name = str(tiny_model_dir)
    jobs = [Job(two_label_task(), small_recipe(), 0, open_engine(name, dtype=dtype)) for dtype in ("auto", "float32")]
    assert "dtype" not in jobs[0].identity()
    assert jobs[1].identity() == {**jobs[0].identity(), "dtype": "float32"}
    assert LocalEngine("model").arithmetic() == LocalEngine("model", device="cpu").arithmetic() == {}
    assert LocalEngine("model", dtype="float32").arithmetic() == {"dtype": "float32"}
    assert LocalEngine("model", load_in_4bit=True).arithmetic() == {"load_in_4bit": True}
    assert LocalEngine("model", precision="int8").arithmetic() == {"precision": "int8"}


def test_the_base_model_multiplies_in_the_precision_asked_for(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recorded_precisions(monkeypatch)
    for precision in ("bfloat16", "float32"):
        asked.clear()
        llm = open_engine(str(tiny_model_dir), device="cpu", precision=precision).llm(max_text_tokens=63)
        assert isinstance(llm, LocalLLM)
        assert set(asked) == {precision}
