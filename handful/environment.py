"""Where a run was made: versions and machine, for its manifest and for `handful doctor`. Nothing is imported for it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("handful", "torch", "transformers", "peft", "accelerate", "tokenizers", "numpy", "scipy")
PEER_PACKAGES = ("scikit-learn", "sentence-transformers", "setfit")


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the version of Python and of packages: as they stand, of all that can change a run's results."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def environment() -> dict[str, Any]:
    """Return what a manifest keeps of the first start of a run."""
    return {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions(),
        "platform": platform.platform(),
        "instructions": instructions(),
        "cores": os.cpu_count(),
    }


def instructions() -> list[str]:
    """Return which of the CPU's instructions decide how, and to the last digit what, is computed (Linux)."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return []
    found = set(flags[1].split()) if flags else set()
    return [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if name in found]


def processor() -> dict[str, Any]:
    """Return what of the processor last digits depend on: its `instructions`, and how many `threads` it has for us."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"instructions": instructions(), "threads": (int(told) if told.isdecimal() else 0) or free}


def commit() -> str:
    """Return the commit of the checkout the package runs from, with `-dirty` if it was changed; "" elsewhere."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def reset_peak_memory() -> None:
    """Begin anew to watch this process's peak memory, where the system can (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float | None:
    """Return the largest resident memory since the last reset; None where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1000 if found else None


def memory_bytes() -> int | None:
    """Return the machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
