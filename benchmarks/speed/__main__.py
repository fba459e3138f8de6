"""Measure the parts that are asked for; see `benchmarks.speed`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from benchmarks.speed import machine, parts, results
from benchmarks.speed.progress import say
from benchmarks.speed.settings import Settings


def main(arguments: list[str]) -> int:
    """Run the benchmark; returns the exit code: 1 if a part failed, the others' figures are then still kept."""
    # peft asks transformers for an attribute by its old name.
    warnings.simplefilter("ignore", FutureWarning)
    options = _parser().parse_args(arguments)
    settings = Settings(options.repeats, options.quick, _scratch())
    command = shlex.join(["python", "-m", "benchmarks.speed", *arguments])
    content = results.merged(results.read(options.output) if options.output else None, {})
    failed = False
    for name in parts.chosen(options.only):
        say(f"== {name}")
        started = time.monotonic()
        try:
            result = parts.load(name)(settings)
        except Exception:  # noqa: BLE001  # hours of other parts must not be lost
            traceback.print_exc()
            failed = True
            continue
        measured = results.entry(result, settings, command, time.monotonic() - started)
        content = results.merged(content, {name: measured})
        say(f"== {name}: {json.dumps(results.rounded(result.figures))}")
        if options.output:
            results.write(options.output, content)
    shown = {key: value for key, value in content.items() if key not in {"parts", "versions"}}
    print(json.dumps(results.rounded(shown)))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--only", help=f"comma-separated parts or their beginnings: {', '.join(parts.PARTS)}")
    parser.add_argument("--repeats", type=int, default=5, help="pairs per comparison (default: 5)")
    parser.add_argument("--quick", action="store_true", help="few texts: a smoke run, the figures mean nothing")
    parser.add_argument("--output", type=Path, help="result file; the parts measured now are put into it")
    return parser


def _scratch() -> Path:
    """Return a folder of this commit's tuned classifiers, kept from one go to the next."""
    folder = Path(tempfile.gettempdir()) / "handful-bench" / machine.commit()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
