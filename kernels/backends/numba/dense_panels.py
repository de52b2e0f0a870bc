"""The forward pass of a linear layer for enough rows to fill vectors: ``y.T = weight @ x.T``.

A task has some rows of x and of the weights, and a part of the terms. It turns its part of x over
into panels, PANEL_VECTORS vectors of rows for each term, by which the micro-kernel multiplies. So
what is packed is mostly the smaller operand; the weights are read once, one by one, wherever they
lie: NumPy's arrays begin in the middle of a cache line, and with vectors of weights and of x, all
of them across two lines, 32 rows, 6272 to 128, took 330 µs instead of 210. By panels it takes 220,
and 280 where all of x is packed first, for tasks of whole rows of weights; 128 rows 810, and 1550:
each task then reads all panels from beyond L2 (2 threads of a Xeon, Emerald Rapids).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import integers_at
from kernels.backends.numba.dense_tables import (
    COLUMNS,
    I_,
    N_,
    O_,
    TASKS,
    WEIGHT,
    X,
    last_block,
    part_of,
    product_table,
    team,
)
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import flat_input
from kernels.backends.numba.micro_kernel import (
    NOTHING,
    PANEL_VECTORS,
    SUMS,
    TILE_ROWS,
    ZEROS,
    multiply_panel,
    prepare,
)
from kernels.backends.numba.plan import lanes_of
from kernels.backends.numba.tasks import Phase, Task, run, team_for
from kernels.backends.numba.turning import turn_part
from kernels.backends.numba.vector import add, at_address, broadcast, lanes, load, pointer, store
from kernels.backends.numba.workspace import Borrowed

MOST_PANELS, MOST_COLUMNS = 4, 128
"""Largest block of y, rows and columns, of a task."""

BLOCK_TERMS = 512
"""Terms that are packed, and summed in registers, at a time."""

LEAST_TERMS = 128
"""Terms that are worth a task of their own."""

BIAS, Y, TERMS, PARTS, PARTIALS, TABLE = range(6, 12)
"""Entries that the backward pass does not have. PARTIALS are [group of rows][part][column][row], as
the working memory of a thread is for sums that have one part only."""


class Cut(NamedTuple):
    """How a product is cut: columns of y and terms of a task, and into how many parts of these."""

    columns: int
    terms: int
    parts: int


@functools.lru_cache(maxsize=512)
def cut(N: int, I: int, O: int, lanes: int) -> Cut:
    """Cut a product into TASKS, if it is worth so many: blocks of y first, then parts of the sum.

    Each block packs its rows of x anew.
    """
    wanted = min(TASKS, team_for(N * I * O))
    groups, blocks = -(-N // (MOST_PANELS * PANEL_VECTORS * lanes)), -(-O // MOST_COLUMNS)
    parts = max(1, min(-(-wanted // (groups * blocks)), I // LEAST_TERMS))
    terms = part_of(I, parts, lanes)
    parts = -(-I // terms)
    columns = part_of(O, max(blocks, -(-wanted // (groups * parts))), TILE_ROWS[0])
    return Cut(min(O, columns, MOST_COLUMNS), terms, parts)


def multiply_by_panels(x: FloatArray, weight: FloatArray, bias: FloatArray, y: FloatArray) -> None:
    """Write ``x @ weight.T + bias`` to flat y."""
    (N, I), O, lanes = x.shape, len(weight), lanes_of(x.dtype)
    columns, terms, parts = cut(N, I, O, lanes)
    rows = MOST_PANELS * PANEL_VECTORS * lanes
    groups = -(-N // rows)
    size = rows * (min(terms, BLOCK_TERMS) + columns)
    flat = flat_input(x), flat_input(weight), flat_input(bias)
    ends = (last_block(t, BLOCK_TERMS) for t in (terms, I - (parts - 1) * terms))
    table = product_table(MOST_COLUMNS, I, rows, (BLOCK_TERMS, *ends))
    shared = groups * rows * O * parts if parts > 1 else 0
    with Borrowed(size * threads.most() + shared, x.dtype) as memory:
        partials = memory[size * threads.most() :]
        entries = (N, I, O, columns, *flat, y, terms, parts, partials, table)
        blocks = groups * -(-O // columns)
        phases = [Phase(FORWARD, blocks * parts, team(N, I, O))]
        if parts > 1:
            phases.append(Phase(ADD_UP, groups * -(-O // lanes), team_for(N * O * parts)))
        run(phases, entries, memory, size)


def _forward_block(work, call, number):
    """Take some columns of some rows of y, or a part of their sums."""
    weight, x = at_address(work, call[WEIGHT]), at_address(work, call[X])
    I, O, columns, parts = call[I_], call[O_], call[COLUMNS], call[PARTS]
    panel, across = PANEL_VECTORS * lanes(work), -(-O // columns)
    block, part = number // parts, number % parts
    step = MOST_PANELS * panel
    o, n = block % across * columns, block // across * step
    o_end, n_end = min(o + columns, O), min(n + step, call[N_])
    begin = part * call[TERMS]
    end = min(begin + call[TERMS], I)
    table = integers_at(call[TABLE], 0)
    sums = work
    if parts > 1:
        place = ((n // step * parts + part) * O + o) * step
        sums = pointer(at_address(work, call[PARTIALS]), place)
    panels, most = pointer(work, step * columns), min(call[TERMS], BLOCK_TERMS)
    for k in range(begin, end, BLOCK_TERMS):
        terms = min(BLOCK_TERMS, end - k)
        segment = MOST_COLUMNS + (0 if terms == BLOCK_TERMS else 1 if end < I else 2)
        for first in range(n, n_end, panel):
            near, rows = (first - n) * most, min(panel, n_end - first)
            if rows < panel:
                clear(panels, near, terms * panel)
            turn_part(x, first * I + k, I, panels, near, panel, rows, terms)
            multiply_panel(
                sums, sums, weight, panels, panels, table, 0, o_end - o, rows, NOTHING,
                0, 0, SUMS if k > begin else ZEROS, first - n, 0, o * I + k, 1, near, panel,
                segment, segment + 1,
            )  # fmt: skip
    if parts == 1:
        _finish(work, call, n, n_end, o, o_end)


def _add_up_block(work, call, number):
    """Add up the parts of a vector of columns."""
    O, parts, step = call[O_], call[PARTS], MOST_PANELS * PANEL_VECTORS * lanes(work)
    across = -(-O // lanes(work))
    group, o = number // across, number % across * lanes(work)
    n, o_end = group * step, min(o + lanes(work), O)
    n_end = min(n + step, call[N_])
    partials = at_address(work, call[PARTIALS])
    for i in range(o_end - o):
        for j in range(0, n_end - n, lanes(work)):
            place = (group * parts * O + o + i) * step + j
            total = load(partials, place)
            for part in range(1, parts):
                total = add(total, load(partials, place + part * O * step))
            store(work, i * step + j, total)
    _finish(work, call, n, n_end, o, o_end)


@serial
def _finish(work, call, n, n_end, o, o_end):
    """Add the bias to the sums in working memory, and write them to columns of y."""
    bias, y, O = at_address(work, call[BIAS]), at_address(work, call[Y]), call[O_]
    step = MOST_PANELS * PANEL_VECTORS * lanes(work)
    for i in range(o_end - o):
        for j in range(0, n_end - n, lanes(work)):
            place = i * step + j
            store(work, place, add(load(work, place), broadcast(bias, o + i)))
    turn_part(work, 0, step, y, n * O + o, O, o_end - o, n_end - n)


FORWARD, ADD_UP = Task(_forward_block, needs=prepare), Task(_add_up_block)
