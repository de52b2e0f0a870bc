"""Elementwise steps in one pass over memory: all of them on a block before the next block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernels.backends.numba import threads
from kernels.backends.numba.calls import doubles_at
from kernels.backends.numba.jit import inlined, serial
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add,
    at_address,
    bundle_lanes,
    divide,
    lanes,
    load_bundle,
    load_first,
    multiply,
    pointer,
    square_root,
    store,
    store_first,
    subtract,
)
from kernels.backends.numba.workspace import Borrowed
from kernels.elementwise import MOST_SCALARS, MOST_TEMPORARIES, OPERATIONS, Step, Temporary
from kernels.lazy import Float64

BLOCK_ELEMENTS = 4096
"""16 KiB of float32: six such blocks of arrays and temporaries stay in the L2 cache.

AdamW's 14 steps on 802,816 values took 0.63 ms, 0.60 with blocks of 1024 and 0.66 of 16384; NumPy
1.2.
"""

MOST_LANES = 64
"""Of a bundle: a scalar stands in memory that often."""

STEPS_MEMORY = MOST_TEMPORARIES * BLOCK_ELEMENTS + MOST_SCALARS * MOST_LANES
"""Elements that steps work in: a block of each temporary, then the scalars."""

COUNT, SCALARS, NUMBERS, STEPS = range(4)
"""Entries; a step has seven: what it computes, then of which kind and where each operand is."""

ARRAY, TEMPORARY, SCALAR = range(3)


def elementwise(steps: Sequence[Step], scalars: Float64) -> None:
    """Do all steps on a block before the next."""
    like = next(array for step in steps for array in step.arrays)
    blocks = -(-like.size // BLOCK_ELEMENTS)
    with Borrowed(STEPS_MEMORY * threads.most(), like.dtype) as memory:
        entries = (like.size, *step_entries(steps, scalars))
        run([Phase(STEP_BLOCK, blocks, blocks)], entries, memory, STEPS_MEMORY)


def step_entries(steps: Sequence[Step], scalars: Float64) -> list[Any]:
    """Return what :func:`do_steps` finds in its table."""
    entries: list[Any] = [len(steps), len(scalars), scalars]
    for step in steps:
        entries.append(OPERATIONS.index(step.operation))
        for value in step[1:]:
            if isinstance(value, np.ndarray):
                entries += ARRAY, value.reshape(-1)
            elif value is None:  # what a root has as well, but for nothing
                entries += TEMPORARY, 0
            else:
                entries += TEMPORARY if isinstance(value, Temporary) else SCALAR, value.number
    return entries


def _step_block(work, call, block):
    first = block * BLOCK_ELEMENTS
    count = min(BLOCK_ELEMENTS, call[0] - first)
    table = pointer(call, 1)
    spread_scalars(work, table)
    do_steps(work, table, first, count)


@serial
def spread_scalars(work, table):
    """Write each scalar as often as a bundle has lanes, behind the temporaries."""
    numbers = doubles_at(table[NUMBERS], 0)
    for k in range(table[SCALARS]):
        for lane in range(MOST_LANES):
            work[MOST_TEMPORARIES * BLOCK_ELEMENTS + k * MOST_LANES + lane] = numbers[k]


@serial
def do_steps(work, table, first, count):
    """Do the steps on ``count`` elements, a block at most, from ``first`` on."""
    for k in range(table[COUNT]):
        at = STEPS + 7 * k
        out, to, _ = _operand(work, table, at + 1, first)
        left, i, i_step = _operand(work, table, at + 3, first)
        right, j, j_step = _operand(work, table, at + 5, first)
        _compute(table[at], out, to, left, i, i_step, right, j, j_step, count)


@serial
def _operand(work, table, at, first):
    """Return where an operand begins, and how far it moves for each element: not, if a scalar."""
    if table[at] == ARRAY:
        return at_address(work, table[at + 1]), first, 1
    if table[at] == TEMPORARY:
        return pointer(work, table[at + 1] * BLOCK_ELEMENTS), 0, 1
    return pointer(work, MOST_TEMPORARIES * BLOCK_ELEMENTS + table[at + 1] * MOST_LANES), 0, 0


def _make_loop(operation: Callable[..., Any]) -> Callable[..., None]:
    """Make the loop of one operation: with a choice in it, it took five times as long."""

    @serial
    def loop(out, to, left, i, i_step, right, j, j_step, count):
        whole = count - count % bundle_lanes(out)
        for at in range(0, whole, bundle_lanes(out)):
            a, b = load_bundle(left, i + i_step * at), load_bundle(right, j + j_step * at)
            store(out, to + at, operation(a, b))
        for at in range(whole, count, lanes(out)):
            valid = min(lanes(out), count - at)
            a, b = (
                load_first(left, i + i_step * at, valid),
                load_first(right, j + j_step * at, valid),
            )
            store_first(out, to + at, operation(a, b), valid)

    return loop


_root = inlined(lambda a, b: square_root(a))
_add, _subtract, _multiply = map(_make_loop, (add, subtract, multiply))
_divide, _take_root = _make_loop(divide), _make_loop(_root)


@serial
def _compute(operation, out, to, left, i, i_step, right, j, j_step, count):
    if operation == 0:
        _add(out, to, left, i, i_step, right, j, j_step, count)
    elif operation == 1:
        _subtract(out, to, left, i, i_step, right, j, j_step, count)
    elif operation == 2:
        _multiply(out, to, left, i, i_step, right, j, j_step, count)
    elif operation == 3:
        _divide(out, to, left, i, i_step, right, j, j_step, count)
    else:
        _take_root(out, to, left, i, i_step, right, j, j_step, count)


STEP_BLOCK = Task(_step_block)
