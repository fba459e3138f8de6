"""llama.cpp in a process of its own, asked through JSON lines (see `llama_cpp_worker.py`)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.machine import ROOT

_WORKER = Path(__file__).with_name("llama_cpp_worker.py")


def python_of_llama_cpp() -> Path | None:
    """Return the python that has the binding, None where `llama_cpp.sh` was not run."""
    named = os.environ.get("HANDFUL_LLAMA_CPP_PYTHON")
    python = Path(named) if named else ROOT / ".venv-llama-cpp" / "bin" / "python"
    return python if python.is_file() else None


class LlamaCpp:
    """A running worker; a context manager that ends it."""

    def __init__(self, python: Path, configuration: dict[str, Any]) -> None:
        # Neither our thread settings nor our import path: its own defaults.
        mine = {"GOMP_SPINCOUNT", "PYTHONPATH"}
        environment = {key: value for key, value in os.environ.items() if key not in mine}
        self._process = subprocess.Popen(
            [str(python), str(_WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.version = str(self._ask(configuration)["version"])

    def __enter__(self) -> LlamaCpp:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write(
        self, prompts: Sequence[Sequence[int]], rows_per_prompt: int, *, top_k: int, seed: int
    ) -> tuple[list[list[int]], float]:
        """Return the tokens of each row, and the seconds the worker took for them."""
        request = {
            "prompts": [list(prompt) for prompt in prompts],
            "rows_per_prompt": rows_per_prompt,
            "top_k": top_k,
            "seed": seed,
        }
        answer = self._ask(request)
        return answer["rows"], float(answer["seconds"])

    def close(self) -> None:
        """End the worker."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"llama.cpp's worker ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer
