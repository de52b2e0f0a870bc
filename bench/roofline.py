"""The machine's limits: multiply-adds a second, and bytes a second at cache and DRAM sizes.

``python -m bench.roofline --threads N`` measures them in a process of its own and prints JSON. The
loops are made of the numba backend's vectors, so that both have the same instructions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

import numba
import numpy as np

from bench import turns
from kernels.backends.numba.jit import PRANGE_ONLY, serial
from kernels.backends.numba.memory import empty
from kernels.backends.numba.peak import fastest, peak_gflops
from kernels.backends.numba.vector import broadcast, lanes, load, multiply_add, store, zeros

FLOAT = np.dtype(np.float32)

WORKING_SETS = (
    *(2**power for power in (15, 17, 19, 20, 21)),
    *(mib * 2**20 for mib in (3, 4, 6, 8, 16, 32, 64, 128, 512)),
)
"""Bytes read and written in all, over all threads: 32 KiB to 512 MiB. Closer together where the
caches end, since the sweep takes that of the next smaller as a limit: on a Xeon (Emerald Rapids)
2 MiB have 139 GB/s, 4 have 80, and 6 to 64 have 49 to 53."""

BYTES_A_CALL = 2**27


class Bandwidth(TypedDict):
    """Bytes a second of ``y = a·x`` where x and y together take ``working_set`` bytes."""

    working_set: int
    gb_per_second: float


class Roofline(TypedDict):
    """What one measurement found; peak by number of threads (JSON makes keys strings)."""

    gflops_by_threads: dict[str, float]
    bandwidth: list[Bandwidth]


@serial
def _scale(x, y, start, end, passes):  # type: ignore[no-untyped-def]
    width = lanes(x)
    none = zeros(x)
    for _ in range(passes):
        for i in range(start, end, width):
            store(y, i, multiply_add(load(x, i), broadcast(x, start), none))


@numba.njit(parallel=PRANGE_ONLY, nogil=True)
def _scale_everywhere(x, y, passes, threads):  # type: ignore[no-untyped-def]
    size = len(x) // threads
    for part in numba.prange(threads):
        _scale(x, y, part * size, (part + 1) * size, passes)


def measure(threads: int) -> Roofline:
    """Return the limits of this machine; each is the best of several calls."""
    counts = sorted({1, threads})
    return Roofline(
        gflops_by_threads={str(n): peak_gflops(n) for n in counts},
        bandwidth=[_bandwidth(size, threads) for size in WORKING_SETS],
    )


def measure_apart(threads: int, folder: Path) -> Roofline:
    """Measure in a process of its own."""
    worker = subprocess.run(
        [sys.executable, "-m", "bench.roofline", "--threads", str(threads)],
        cwd=turns.ROOT,
        env=turns.environment(threads, folder),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    result: Roofline = json.loads(worker.stdout)
    return result


def best(one: Roofline, other: Roofline) -> Roofline:
    """Return the higher of two measurements of each limit."""
    return Roofline(
        gflops_by_threads={
            n: max(value, other["gflops_by_threads"][n])
            for n, value in one["gflops_by_threads"].items()
        },
        bandwidth=[
            max(pair, key=lambda limit: limit["gb_per_second"])
            for pair in zip(one["bandwidth"], other["bandwidth"], strict=True)
        ],
    )


def _bandwidth(working_set: int, threads: int) -> Bandwidth:
    elements = working_set // 8
    x, y = empty((elements,), FLOAT), empty((elements,), FLOAT)
    x[...] = y[...] = 1.0
    passes = max(1, BYTES_A_CALL // working_set)
    seconds = fastest(lambda: _scale_everywhere(x, y, passes, threads))
    return Bandwidth(working_set=working_set, gb_per_second=passes * working_set / seconds / 1e9)


def main() -> None:
    """Print the measurement as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.roofline", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="threads of the wide measurement")
    json.dump(measure(parser.parse_args().threads), sys.stdout)


if __name__ == "__main__":
    main()
