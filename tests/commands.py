"""The command line as tests call it: in this process, with what it printed and its exit code."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handful.cli.app import execute

PROJECT = Path(__file__).parents[1]
EXAMPLES = {
    "alpha": [
        "the quick red fox runs",
        "a red bird sings at dawn",
        "red leaves fall on the road",
        "my red coat is warm",
    ],
    "beta": [
        "blue water fills the lake",
        "the sky turned deep blue",
        "a blue car drove past us",
        "her blue pen is empty",
    ],
}


@dataclass(frozen=True)
class Result:
    """What a command came to."""

    code: int
    out: str
    err: str

    def events(self) -> list[dict[str, Any]]:
        """The lines of stdout as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def handful(*argv: object, stdin: bytes = b"") -> Result:
    """Run a command in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = execute([str(arg) for arg in argv])
    finally:
        sys.stdin = before
    return Result(code, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def start(*argv: object, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **(env or {})}
    command = [sys.executable, "-m", "handful", *map(str, argv)]
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def write_task(folder: Path, *, examples: Mapping[str, list[str]] | None = None, test: bool = True) -> Path:
    """Write a small task with its examples and test texts; inline, so that labels may be called anything."""
    examples = EXAMPLES if examples is None else examples
    rows = [{"text": text, "label": label} for label, texts in examples.items() for text in texts]
    lines = ["name: colours", "instruction: Say which colour the text is about.", "labels:"]
    lines += [f"  - {json.dumps(label)}" for label in examples]
    lines += ["examples: examples.jsonl", *(["test: test.jsonl"] if test else [])]
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = [{"text": f"{row['text']} again", "label": row["label"]} for row in rows]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held_out))
    task = folder / "task.yaml"
    task.write_text("\n".join(lines) + "\n")
    return task
