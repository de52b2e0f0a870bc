"""The backward pass of a linear layer, and the update of its weights in the same tasks.

A task has some columns of x and of the weights, whose rows lie some KiB apart: on as many pages,
and on few sets of the cache. It copies them to panels, by which the micro-kernel multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.micro_kernel import (
    ADJACENT,
    PANEL_VECTORS,
    START,
    SUMS,
    TILE_ROWS,
    multiply_panel,
    prepare,
)
from kernels.backends.numba.plan import lanes_of
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.updating import (
    BLOCK_ELEMENTS,
    STEPS_MEMORY,
    do_steps,
    elementwise,
    spread_scalars,
    step_entries,
)
from kernels.backends.numba.vector import (
    add,
    at_address,
    lanes,
    load,
    load_first,
    pointer,
    store,
    store_first,
    zeros,
)
from kernels.backends.numba.workspace import Borrowed
from kernels.elementwise import Step
from kernels.lazy import Float64

MOST_PANELS = 8
"""Of a task: with BLOCK_TERMS rows they stay in the L2 cache."""

FEW_TERMS = 16
"""Up to so many, a tile asks first for the lines that it will write. On 2 threads of a Xeon
(Emerald Rapids): 8 rows, 512 to 1000, 0.84 of the time, 16 rows, 6272 to 128, 0.93; but 32 such
rows 1.02, 64 rows, 1024 to 1024, 1.04."""

BLOCK_TERMS = 128
"""Terms of a gradient that are summed before they go to memory: errors grow with a block, and a
panel of so many rows stays in the L1 cache."""

BLOCK_ROWS = 9 * TILE_ROWS[0]
"""Rows of a product at a time. Only a matrix's last rows are in lower tiles, which may add up in
another order: so the bits do not depend on the parts that its rows are cut into."""

LEAST_BLOCKS = 8
"""Blocks of columns, for the weights of each to be updated by the task that has their gradient."""

GRAD, GRAD_X, GRAD_WEIGHT, GRAD_BIAS, N_ROWS, O_ROWS, OF_X, OF_WEIGHT, UPDATES, UPDATE = range(
    6, 16
)
"""Entries of the backward pass; if it UPDATES, those from UPDATE on are the steps'."""


def linear_update(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
    steps: Sequence[Step],
    scalars: Float64,
) -> None:
    """Update some columns of the weights in the task that takes their gradient, for it is in cache.

    The task is then the only one that reads them. Where there are few columns, update afterwards.
    """
    operands, results = (grad_y, x, weight), (grad_x, grad_weight, grad_bias)
    (N, I), O = x.shape, len(weight)
    if -(-I // _columns(N, I, O, lanes_of(x.dtype))) >= LEAST_BLOCKS:
        run_backward(operands, results, step_entries(steps, scalars))
    else:
        run_backward(operands, results, ())
        elementwise(steps, scalars)


def run_backward(
    operands: tuple[FloatArray, ...], results: tuple[FloatArray, ...], update: Sequence[Any]
) -> None:
    """Run the tasks of grad_y, x and weight; the update's entries follow, if there is one."""
    grad_y, x, weight = operands
    (N, I), O, lanes = x.shape, len(weight), lanes_of(x.dtype)
    columns = _columns(N, I, O, lanes)
    blocks = -(-I // columns)
    parts = 1 if update else -(-_tasks(N, I, O) // blocks)
    rows = part_of(N, parts, TILE_ROWS[0]), part_of(O, parts, TILE_ROWS[0])
    flat = flat_input(x), flat_input(weight), flat_input(grad_y)
    to_x, to_weight, to_bias = map(FlatOutput, results)
    size = max(BLOCK_TERMS * columns + PANEL_VECTORS * lanes, STEPS_MEMORY if update else 0)
    with (
        to_x as flat_x,
        to_weight as flat_weight,
        to_bias as flat_bias,
        Borrowed(size * threads.most(), x.dtype) as memory,
    ):
        tables = [
            product_table(BLOCK_ROWS, row, I, (BLOCK_TERMS, last_block(terms, BLOCK_TERMS)))
            for row, terms in ((O, O), (1, N))
        ]
        entries = (N, I, O, columns, *flat, flat_x, flat_weight, flat_bias, *rows, *tables)
        phases = [Phase(BACKWARD, blocks * parts, team(2 * N, I, O))]
        run(phases, (*entries, len(update) > 0, *update), memory, size)


def _tasks(N: int, I: int, O: int) -> int:
    """Return how many tasks there are to be, at least."""
    return min(TASKS, team(2 * N, I, O))


def _columns(N: int, I: int, O: int, lanes: int) -> int:
    """Return how many columns a task of the backward pass has, whole panels."""
    panel = PANEL_VECTORS * lanes
    return min(part_of(I, _tasks(N, I, O), panel), MOST_PANELS * panel)


def _backward_block(work, call, block):
    """Do some columns of both x and the weights, and a share of their rows."""
    grad, x, weight = (
        at_address(work, call[GRAD]), at_address(work, call[X]), at_address(work, call[WEIGHT]),
    )  # fmt: skip
    N, I, O, columns = call[N_], call[I_], call[O_], call[COLUMNS]
    across = -(-I // columns)
    v, part = block % across * columns, block // across
    v_end = min(v + columns, I)
    n, o = min(part * call[N_ROWS], N), min(part * call[O_ROWS], O)
    n_end, o_end = min(n + call[N_ROWS], N), min(o + call[O_ROWS], O)
    grad_x, grad_weight = at_address(work, call[GRAD_X]), at_address(work, call[GRAD_WEIGHT])
    of_x, of_weight = integers_at(call[OF_X], 0), integers_at(call[OF_WEIGHT], 0)
    if n < n_end:
        _multiply(work, grad_x, grad, O, 1, weight, of_x, n, n_end, v, v_end, I, O)
    if o < o_end:
        _multiply(work, grad_weight, grad, 1, O, x, of_weight, o, o_end, v, v_end, I, N)
    if v == 0:
        _sum_columns(at_address(work, call[GRAD_BIAS]), grad, o, o_end, N, O)
    if call[UPDATES]:
        _update_rows(work, pointer(call, UPDATE), o, o_end, v, v_end, I)


@serial
def _update_rows(work, steps, begin, end, v, v_end, I):
    """Do the steps on some columns of the weights."""
    spread_scalars(work, steps)
    for row in range(begin, end):
        for first in range(v, v_end, BLOCK_ELEMENTS):
            do_steps(work, steps, row * I + first, min(BLOCK_ELEMENTS, v_end - first))


@serial
def _multiply(work, c, a, a_row, a_term, b, table, m_begin, m_end, v_begin, v_end, width, K):
    """Write a block of ``c = a @ b``; rows of b and c have ``width`` columns.

    Sums start from zeros in memory, since tiles ask for their lines only where they start from it.
    """
    panel = PANEL_VECTORS * lanes(c)
    zero = BLOCK_TERMS * (-(-(v_end - v_begin) // panel)) * panel
    clear(work, zero, panel)
    for k in range(0, max(1, K), BLOCK_TERMS):  # without terms the sums are 0
        terms, begin = min(BLOCK_TERMS, K - k), SUMS if k > 0 else START + int(K <= FEW_TERMS)
        segment = BLOCK_ROWS + int(k + BLOCK_TERMS >= K)
        _copy_panels(work, b, width * k, width, terms, v_begin, v_end)
        for v in range(v_begin, v_end, panel):
            near = (v - v_begin) * BLOCK_TERMS
            for m in range(m_begin, m_end, BLOCK_ROWS):
                multiply_panel(
                    c, work, a, work, work, table, 0, min(BLOCK_ROWS, m_end - m),
                    min(panel, v_end - v), ADJACENT, 0, 0, begin, m * width + v, zero,
                    m * a_row + k * a_term, a_term, near, panel, segment, segment + 1,
                )  # fmt: skip


@serial
def _copy_panels(work, b, first, width, terms, v_begin, v_end):
    """Copy some columns of so many rows to panels, each with room for BLOCK_TERMS rows."""
    lane, panel = lanes(work), PANEL_VECTORS * lanes(work)
    for k in range(terms):
        at, to = first + k * width, k * panel
        for v in range(v_begin, v_end, lane):
            place = to + (v - v_begin) // panel * (BLOCK_TERMS * panel) + (v - v_begin) % panel
            if v + lane <= v_end:
                store(work, place, load(b, at + v))
            else:
                store(work, place, load_first(b, at + v, v_end - v))


@serial
def _sum_columns(sums, values, begin, end, rows, width):
    """Sum columns ``begin`` to ``end`` of a matrix, BLOCK_TERMS rows at a time."""
    for c in range(begin, end, lanes(values)):
        valid = min(lanes(values), end - c)
        total = zeros(values)
        for first in range(0, rows, BLOCK_TERMS):
            part = zeros(values)
            for row in range(first, min(first + BLOCK_TERMS, rows)):
                part = add(part, load_first(values, row * width + c, valid))
            total = add(total, part)
        store_first(sums, c, total, valid)


BACKWARD = Task(_backward_block, needs=prepare)
