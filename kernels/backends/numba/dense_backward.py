"""The backward pass of a linear layer, and the update of its weights in the same tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.dense_kernel import TILE_COLUMNS, TILE_ROWS, product_edge, product_tile
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.tasks import Phase, Task, run, team_for
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
    load_first,
    pointer,
    store,
    store_first,
    zeros,
)
from kernels.backends.numba.workspace import Borrowed
from kernels.elementwise import Step
from kernels.lazy import Float64

TASKS = 16
"""Blocks that work is cut into, so that a batch of one image uses all cores, too."""

READING_WORK = 12
"""Multiply-adds in the time that one weight takes to come from memory."""

BLOCK_TERMS = 512
"""Terms of a gradient that are summed before they go to memory: errors grow with a block."""

COPIED = 64
"""Rows of a block, and terms, from which on a task copies the columns that it is at of the right
operand: rows lie some KiB apart, on as many pages and on few sets of the cache. 128 rows, 6272 to
128, took 1.24 ms on 2 threads of Zen 5, now 0.97; 32 rows would take 3 % longer with copies."""

LEAST_BLOCKS = 8
"""Blocks of columns, for the weights of each to be updated by the task that has their gradient."""

N_, I_, O_, COLUMNS, X, WEIGHT = range(6)
GRAD, GRAD_X, GRAD_WEIGHT, GRAD_BIAS, N_ROWS, O_ROWS, UPDATES, UPDATE = range(6, 14)
"""Entries that the forward pass has, too, and others; if it UPDATES, from UPDATE on the steps'."""


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
    I = x.shape[1]
    if -(-I // _columns(I, x.itemsize)) >= LEAST_BLOCKS:
        run_backward(operands, results, step_entries(steps, scalars))
    else:
        run_backward(operands, results, ())
        elementwise(steps, scalars)


def run_backward(
    operands: tuple[FloatArray, ...], results: tuple[FloatArray, ...], update: Sequence[Any]
) -> None:
    """Run the tasks of grad_y, x and weight; the update's entries follow, if there is one."""
    grad_y, x, weight = operands
    (N, I), O = x.shape, len(weight)
    columns = _columns(I, x.itemsize)
    blocks = -(-I // columns)
    parts = 1 if update else -(-TASKS // blocks)
    rows = part_of(N, parts, TILE_ROWS), part_of(O, parts, TILE_ROWS)
    flat = flat_input(x), flat_input(weight), flat_input(grad_y)
    to_x, to_weight, to_bias = map(FlatOutput, results)
    copies = min(BLOCK_TERMS, max(N, O)) * TILE_COLUMNS * REGISTER_BYTES // x.itemsize
    size = max(copies, STEPS_MEMORY if update else 0)
    with (
        to_x as flat_x,
        to_weight as flat_weight,
        to_bias as flat_bias,
        Borrowed(size * threads.most(), x.dtype) as memory,
    ):
        entries = (N, I, O, columns, *flat, flat_x, flat_weight, flat_bias, *rows)
        phases = [Phase(BACKWARD, blocks * parts, team(2 * N, I, O))]
        run(phases, (*entries, len(update) > 0, *update), memory, size)


def _columns(I: int, itemsize: int) -> int:
    """Return how many columns a task of the backward pass has."""
    return part_of(I, TASKS, TILE_COLUMNS * 64 // itemsize)


def team(N: int, I: int, O: int) -> int:
    """Return how many threads are worth their while, at most."""
    return team_for((N + READING_WORK) * I * O)


def part_of(size: int, parts: int, unit: int) -> int:
    """Return a ``parts``-th of ``size``, rounded up to units."""
    return -(-size // (parts * unit)) * unit


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
    _product_block(work, grad_x, grad, O, 1, weight, n, n_end, v, v_end, I, O)
    _product_block(work, grad_weight, grad, 1, O, x, o, o_end, v, v_end, I, N)
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
def _product_block(work, c, a, a_row, a_term, b, m_begin, m_end, v_begin, v_end, width, K):
    """Write a block of ``c = a @ b``; rows of b and c have ``width`` columns."""
    step = TILE_COLUMNS * lanes(c)
    for k in range(0, max(1, K), BLOCK_TERMS):  # without terms the sums are 0
        terms, a_k, more = min(BLOCK_TERMS, K - k), a_term * k, int(k > 0)
        for v in range(v_begin, v_end, step):
            columns = min(step, v_end - v)
            near, first, apart = b, width * k + v, width
            if min(m_end - m_begin, terms) >= COPIED:
                _copy_rows(work, step, b, first, width, terms, columns)
                near, first, apart = work, 0, step
            for m in range(m_begin, m_end, TILE_ROWS):
                a_m, to, rows = a_k + m * a_row, m * width + v, min(TILE_ROWS, m_end - m)
                soon = width * k + v + step + m // TILE_ROWS % TILE_COLUMNS * lanes(c)
                at = (c, to, width, a, a_m, a_row, a_term, near, first, apart, terms, b, soon)
                if rows == TILE_ROWS and columns == step:
                    product_tile(*at, TILE_ROWS, step, more)
                else:
                    product_edge(*at, rows, columns, more)


@serial
def _copy_rows(work, step, b, first, width, terms, columns):
    """Copy some columns of so many rows to working memory, there ``step`` apart."""
    for k in range(terms):
        for j in range(0, columns, lanes(work)):
            valid = min(lanes(work), columns - j)
            store(work, k * step + j, load_first(b, first + k * width + j, valid))


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


BACKWARD = Task(_backward_block)
