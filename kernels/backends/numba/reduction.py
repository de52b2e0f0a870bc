"""Rows of channels: (M, C) values in memory, worked on in blocks fixed by the shape.

Few channels do not fill a vector, so several rows together count as one wide row, in which each
channel comes more than once. Sums are taken in blocks, each short enough for its dtype, and the
blocks' results are added in float64. Which rows a block holds does not depend on the number of
threads, nor do the bits.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.calls import doubles_at
from kernels.backends.numba.cpu import BUNDLE, REGISTER_BYTES
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import FlatOutput
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add,
    at_address,
    bundle_lanes,
    lanes,
    load_bundle,
    load_first,
    store,
    store_first,
    zeros,
    zeros_bundle,
)
from kernels.lazy import Sums

BLOCK_ELEMENTS = 32768
"""128 KiB of float32: two blocks read and one written stay in the L2 cache."""

LEAST_ROWS, MOST_ROWS = 32, 512
"""Limits to a block's wide rows; the upper one keeps float32 sums within the tolerance."""


VALUES, SUMS = range(5, 7)
"""Entries after the division into blocks."""

COUNT, SIZE, WIDE, ADDED, TOTAL, ROUNDS, ROUNDED = range(7)
"""Entries of what adds up parts, of float64 if WIDE; ROUNDS if a rounded total is wanted."""


class Rows(NamedTuple):
    """How (M, C) values are divided: the integers that jitted code takes."""

    M: int
    C: int
    together: int
    """Rows in a wide row."""
    block: int
    """Wide rows in a block."""
    tasks: int
    """Blocks; rows that fill no wide row are one of their own, the last."""


def rows_of(values: FloatArray, C: int) -> Rows:
    """Divide channels-last values."""
    return _divided(values.size // C, C, values.itemsize)


@functools.lru_cache(maxsize=256)
def _divided(M: int, C: int, itemsize: int) -> Rows:
    together = _rows_together(C, REGISTER_BYTES // itemsize)
    whole = M // together
    block = min(MOST_ROWS, max(LEAST_ROWS, BLOCK_ELEMENTS // (together * C)))
    blocks = -(-whole // block)
    if blocks > 1:  # an even number of equal blocks
        block = -(-whole // (blocks + blocks % 2))
    blocks = -(-whole // block)
    return Rows(M, C, together, block, blocks + (whole * together < M))


def _rows_together(C: int, lanes: int) -> int:
    """Rows that fill whole bundles, or whole vectors where that would take too many."""
    bundle = BUNDLE * lanes
    if 4 * bundle <= C:
        return 1
    unit = bundle if bundle >= C else lanes
    return unit // math.gcd(C, unit)


def channel_sums(values: FloatArray, out: FloatArray) -> None:
    """Sum flat channels-last values over everything but their channels."""
    rows = rows_of(values, len(out))
    sums = np.zeros((rows.tasks * rows.together, rows.C), values.dtype)
    run([Phase(BLOCK_SUMS, rows.tasks, rows.tasks)], (*rows, values, sums.reshape(-1)), values)
    add_up(sums, out)


def add_up(parts: NDArray[Any], out: FloatArray) -> None:
    """Write the sum over the first axis, taken in float64."""
    wide = out.dtype == np.float64
    with FlatOutput(out) as target:
        total = target if wide else np.empty(out.size)
        table = (len(parts), out.size, parts.dtype == np.float64, parts.reshape(-1), total)
        element = parts.dtype if wide else out.dtype
        run([Phase(ADD_UP, 1, 1)], (*table, not wide, target), np.empty(0, element))


def added_up(slots: NDArray[Any]) -> Sums:
    """Return the sum of partial sums, (parts, 2, C)."""
    sums = np.empty(slots.shape[1:])
    add_up(slots, sums)
    return Sums(sums[0], sums[1])


@serial
def division(call):
    """Return the numbers of a Rows, with which a table begins."""
    return call[0], call[1], call[2], call[3], call[4]


@serial
def block_extent(call, task):
    """Return where a block's elements begin and end, the width of its rows, and of whole ones."""
    M, C, together, block, _ = division(call)
    count, replicas = block_size(task, M, together, block)
    first = min(task * block, M // together) * together * C
    return first, first + count * replicas * C, replicas * C, together * C


@serial
def block_size(task, M, together, block):
    """Wide rows of a block, and the rows in each."""
    left = M // together - task * block
    if left > 0:
        return min(block, left), together
    return 1, M % together


def _sum_block(work, call, task):
    values, sums = at_address(work, call[VALUES]), at_address(work, call[SUMS])
    first, end, width, step = block_extent(call, task)
    to = task * step
    whole = width - width % bundle_lanes(values)
    for c in range(0, whole, bundle_lanes(values)):
        total = zeros_bundle(values)
        for i in range(first + c, end, width):
            total = add(total, load_bundle(values, i))
        store(sums, to + c, total)
    for c in range(whole, width, lanes(values)):
        valid = min(lanes(values), width - c)
        rest = zeros(values)
        for i in range(first + c, end, width):
            rest = add(rest, load_first(values, i, valid))
        store_first(sums, to + c, rest, valid)


def _add_up(work, call, _):
    """Add the parts in their order."""
    total, parts, wide_parts = (
        doubles_at(call[TOTAL], 0), at_address(work, call[ADDED]), doubles_at(call[ADDED], 0),
    )  # fmt: skip
    size = call[SIZE]
    for c in range(size):
        total[c] = 0.0
    for first in range(0, call[COUNT] * size, size):
        for c in range(size):
            total[c] += wide_parts[first + c] if call[WIDE] else parts[first + c]
    if call[ROUNDS]:
        out = at_address(work, call[ROUNDED])
        for c in range(size):
            out[c] = total[c]


ADD_UP = Task(_add_up)
BLOCK_SUMS = Task(_sum_block)
