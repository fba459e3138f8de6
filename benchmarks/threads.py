"""How fast two processes multiply matrices side by side, by how long waiting OpenMP threads spin.

    python benchmarks/threads.py

prints one JSON object: GFLOP/s per process, by GOMP_SPINCOUNT, matrix rows and number of processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

WORKER = """
import json, time, torch
weights = torch.randn(1536, 576)
rates = {}
for rows in (32, 512):
    x = torch.randn(rows, 576)
    for _ in range(20): x @ weights.T
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 2:
        x @ weights.T
        count += 1
    rates[rows] = round(2 * rows * 576 * 1536 * count / (time.perf_counter() - started) / 1e9, 1)
print(json.dumps(rates))
"""


def rates(spin_count: str | None, n_processes: int) -> list[dict[str, float]]:
    """Run the worker in so many processes at once and return what each measured."""
    environment = {key: value for key, value in os.environ.items() if key not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    if spin_count is not None:
        environment["GOMP_SPINCOUNT"] = spin_count
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{WORKER}"]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(n_processes)]
    return [json.loads(process.communicate()[0]) for process in running]


if __name__ == "__main__":
    table = {}
    for spin_count in (None, "2000", "20000", "200000"):
        table[spin_count or "default"] = {n: rates(spin_count, n) for n in (1, 2)}
    print(json.dumps({"gflops_per_process": table, "cores": os.cpu_count()}))
