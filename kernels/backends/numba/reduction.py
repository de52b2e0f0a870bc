"""Work on (M, C) rows, a row per value of a channel, in blocks fixed by the shape.

Sums are taken in blocks, each short enough for its dtype, and the blocks' results are added in
float64. Which rows a block holds does not depend on the number of threads, nor do the bits.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.vector import add, lanes, load_first, store_first, zeros

BLOCK_ELEMENTS = 65536
"""256 KiB of float32: read twice, it comes from the L2 cache the second time."""

LEAST_ROWS, MOST_ROWS = 16, 512
"""Limits to a block's rows; the upper one keeps float32 sums within the tolerance."""


def block_rows(C: int) -> int:
    """Rows of a block."""
    return min(MOST_ROWS, max(LEAST_ROWS, BLOCK_ELEMENTS // C))


def channel_sums(values: FloatArray, C: int) -> NDArray[np.float64]:
    """Sum flat channels-last values over everything but their ``C`` channels."""
    M = values.size // C
    rows = block_rows(C)
    sums = np.empty((-(-M // rows), C), values.dtype)
    _block_sums(values, M, C, rows, sums.reshape(-1))
    return sums.sum(axis=0, dtype=np.float64)


@parallel
def _block_sums(values, M, C, rows, sums):
    for block in numba.prange(-(-M // rows)):
        _sum_block(values, block * rows, min(rows, M - block * rows), C, sums, block * C)


@serial
def _sum_block(values, first, count, C, sums, place):
    for c in range(0, C, lanes(values)):
        valid = min(lanes(values), C - c)
        total = zeros(values)
        for row in range(first, first + count):
            total = add(total, load_first(values, row * C + c, valid))
        store_first(sums, place + c, total, valid)
