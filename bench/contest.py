"""Timing contestants fairly: each in a process of its own, in turn, ratios round by round.

NumPy, Numba and PyTorch in one process would fight over threads; on a shared machine times drift
within minutes. So every round starts each contestant anew, one after the other, and what is quoted
are medians over rounds, of times and of ratios within a round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

Times = dict[str, float]
"""Milliseconds by what was timed."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run(
    module: str, contestants: Sequence[str], rounds: int, threads: int
) -> list[dict[str, Times]]:
    """Run ``python -m module --contestant NAME`` for each, ``rounds`` times in turn."""
    environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES}
    environment["NUMBA_NUM_THREADS"] = str(threads)
    results: list[dict[str, Times]] = []
    for number in range(rounds):
        results.append({})
        for name in contestants:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            worker = subprocess.run(
                [sys.executable, "-m", module, "--contestant", name, "--threads", str(threads)],
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            results[-1][name] = json.loads(worker.stdout)
    return results


def median(rounds: Sequence[Mapping[str, Times]], name: str, what: str) -> float:
    """Return a contestant's median time in milliseconds."""
    return statistics.median(r[name][what] for r in rounds)


def ratio(rounds: Sequence[Mapping[str, Times]], name: str, other: str, what: str) -> float:
    """Return the median over rounds of one contestant's time over another's."""
    return statistics.median(r[name][what] / r[other][what] for r in rounds)


def milliseconds(function: Callable[[], object], seconds: float = 0.4) -> float:
    """Time a function for so long after a warm-up; return the lower quartile of its calls."""
    for _ in range(3):
        function()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.quantiles(times, n=4)[0] * 1e3
