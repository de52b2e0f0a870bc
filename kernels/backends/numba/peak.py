"""The most multiply-adds a second that compiled code can do here, all operands in registers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import empty
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import add_products, lanes, load, load_rows, repeat, store_each

FLOAT = np.dtype(np.float32)

# Enough independent sums to hide the latency of 4 cycles with 2 units, few enough for 16 registers.
CHAINS = 12
LINKS = 200_000
REPEATS = 15

_PER_THREAD = 1024
"""Elements from one thread's numbers to the next one's: no two threads share a page."""


def multiply_adds(threads: int) -> tuple[Callable[[], None], int]:
    """Return what runs multiply-adds on so many threads, and the operations of a call.

    They are of float32, a multiply-add being two; a call takes some 0.4 ms.
    """
    data = empty((threads * _PER_THREAD,), FLOAT)
    data[...] = 0.5
    phases, width = [Phase(MULTIPLY_ADDS, threads, threads)], REGISTER_BYTES // FLOAT.itemsize
    return lambda: run(phases, (LINKS,), data), 2 * threads * CHAINS * LINKS * width


def peak_gflops(threads: int) -> float:
    """Return 10⁹ operations a second of the fastest of several calls."""
    function, operations = multiply_adds(threads)
    return operations / fastest(function) / 1e9


def fastest(function: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of several calls, after one that may have to compile."""
    function()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


def _multiply_adds_of_thread(work, call, part):
    _multiply_adds(work, part * _PER_THREAD, call[0])


@serial
def _multiply_adds(data, start, links):
    width = lanes(data)
    total = load_rows(data, start, width, CHAINS - 1, CHAINS)
    behind = start + CHAINS * width  # is never written, and stays 0.5: so do the sums stay finite
    factor, addends = repeat(load(data, behind), 1), repeat(load(data, behind), CHAINS)
    for _ in range(links):
        total = add_products(addends, total, factor)
    store_each(total, data, start, width, width)


MULTIPLY_ADDS = Task(_multiply_adds_of_thread, alone=True)
