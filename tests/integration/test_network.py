"""Nothing leaves the machine: with a model that is here, no command looks a host up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_RECORDING = """
import json, socket, sys
asked = []

def refuse(*arguments, **named):
    asked.append(repr(arguments))
    raise OSError("no network here")

socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
from handful.cli.app import execute

codes = [execute(command) for command in json.loads(sys.argv[1])]
print(json.dumps({"codes": codes, "asked": asked}))
"""


def test_no_command_asks_the_network(tiny_model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        "name: toy\nlabels: [good, bad]\nexamples:\n"
        "  - {text: a fine film, label: good}\n  - {text: lovely songs, label: good}\n"
        "  - {text: a dull film, label: bad}\n  - {text: awful songs, label: bad}\ntest: test.csv\n"
    )
    (tmp_path / "test.csv").write_text("text,label\na fine song,good\n")
    # Its name is no path from the other folder: what asks by name what the model is would ask the hub.
    (tmp_path / "model").symlink_to(tiny_model_dir)
    settings = ["--set", "generate.synthetic_per_label=0", "--set", "train.min_steps=1", "--set", "train.max_steps=1"]
    run, elsewhere = str(tmp_path / "run"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    in_task = [["run", "task.yaml", "--model", "model", "--run", run, *settings], ["doctor"]]
    in_other = [["predict", run, str(tmp_path / "test.csv"), "--base-model", str(tiny_model_dir)], ["report", run]]
    for folder, commands in ((tmp_path, in_task), (elsewhere, in_other)):
        said = _recorded(folder, commands)
        assert said == {"codes": [0, 0], "asked": []}


def _recorded(folder: Path, commands: list[list[str]]) -> object:
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    asked = subprocess.run(
        [sys.executable, "-c", _RECORDING, json.dumps(commands)],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout.splitlines()[-1])
