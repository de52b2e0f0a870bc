"""A linear layer and its gradients, in blocks that are whole cores' work and fit the caches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.dense_kernel import (
    BLOCK_BYTES,
    ROW_BYTES,
    ROW_COLUMNS,
    TILE_COLUMNS,
    TILE_ROWS,
    make_dot_tile,
    product_tile,
)
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

LINE = 64
"""Bytes of a cache line: blocks begin where one does, if the rows do."""

BLOCK_TERMS = 512
"""Terms of a gradient that are summed before they go to memory: errors grow with a block."""

MOST_ROWS, MOST_COLUMNS = 32, 32
"""Largest block of the forward pass: its rows of x are read from the L2 cache 8 times."""

N_, I_, O_, COLUMNS, X, WEIGHT = range(6)
BIAS, Y, TERMS = range(6, 9)
GRAD, GRAD_X, GRAD_WEIGHT, GRAD_BIAS, N_ROWS, O_ROWS, UPDATES, UPDATE = range(6, 14)
"""Entries of both passes, of the forward, and of the backward pass; from UPDATE on those of the
steps that follow it, if it UPDATES."""

LEAST_BLOCKS = 8
"""Of columns, for the weights of each to be updated in its task."""


def linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray) -> None:
    """Take dot products of rows of x and rows of the weights."""
    (N, I), O = x.shape, len(weight)
    start = np.zeros(O, x.dtype) if bias is None else bias
    columns = min(MOST_COLUMNS, _part(O, _share(N), TILE_COLUMNS))
    block = BLOCK_BYTES if N > 1 else ROW_BYTES
    terms = _part(I, -(-I * x.itemsize // block), LINE // x.itemsize)
    with FlatOutput(out) as y:
        blocks = -(-N // MOST_ROWS) * -(-O // columns)
        flat = flat_input(x), flat_input(weight)
        entries = (N, I, O, columns, *flat, flat_input(start), y, terms)
        run([Phase(FORWARD if N > 1 else ROW, blocks, _threads(N, I, O))], entries, y)


def linear_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Take ``grad_y @ weight``, ``grad_y.T @ x`` and the sum over rows."""
    _backward((grad_y, x, weight), (grad_x, grad_weight, grad_bias), ())


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
        _backward(operands, results, step_entries(steps, scalars))
    else:
        _backward(operands, results, ())
        elementwise(steps, scalars)


def _backward(
    operands: tuple[FloatArray, ...], results: tuple[FloatArray, ...], update: Sequence[Any]
) -> None:
    grad_y, x, weight = operands
    (N, I), O = x.shape, len(weight)
    columns = _columns(I, x.itemsize)
    blocks = -(-I // columns)
    parts = 1 if update else -(-TASKS // blocks)
    rows = _part(N, parts, TILE_ROWS), _part(O, parts, TILE_ROWS)
    flat = flat_input(x), flat_input(weight), flat_input(grad_y)
    to_x, to_weight, to_bias = map(FlatOutput, results)
    size = STEPS_MEMORY if update else 0
    with (
        to_x as flat_x,
        to_weight as flat_weight,
        to_bias as flat_bias,
        Borrowed(size * threads.most(), x.dtype) as memory,
    ):
        entries = (N, I, O, columns, *flat, flat_x, flat_weight, flat_bias, *rows)
        phases = [Phase(BACKWARD, blocks * parts, _threads(2 * N, I, O))]
        run(phases, (*entries, len(update) > 0, *update), memory, size)


def _columns(I: int, itemsize: int) -> int:
    """Return how many columns a task of the backward pass has."""
    return _part(I, TASKS, TILE_COLUMNS * 64 // itemsize)


def _threads(N: int, I: int, O: int) -> int:
    """Return how many threads are worth their while, at most."""
    return team_for((N + READING_WORK) * I * O)


def _share(N: int) -> int:
    """Return into how many parts the outputs are cut, beside the blocks of rows."""
    return -(-TASKS // max(1, -(-N // MOST_ROWS)))


def _part(size: int, parts: int, unit: int) -> int:
    """Return a ``parts``-th of ``size``, rounded up to units."""
    return -(-size // (parts * unit)) * unit


def _make_forward(height: int, width: int) -> Callable[..., None]:
    """Make the forward pass of tiles of so many rows and columns."""
    dot_tile = make_dot_tile(height, width)

    @serial
    def add_dots(x, weight, y, n_begin, n_end, o_begin, o_end, i, terms, I, O):
        """Add to a block of y the dot products of ``terms`` columns from ``i`` on."""
        for o in range(o_begin, o_end, width):
            columns = min(width, o_end - o)
            w = o * I + i
            # Weights come from memory: each tile asks for a row of those that are needed next.
            ahead = w + width * I if o + width < o_end else o_begin * I + i + terms
            for n in range(n_begin, n_end, height):
                rows = min(height, n_end - n)
                soon = ahead + n // height % width * I
                dot_tile(y, n * O + o, O, x, n * I + i, weight, w, I, terms, soon, rows, columns)

    @serial
    def forward(work, call, block):
        """Compute some columns of MOST_ROWS rows of y."""
        x, weight = at_address(work, call[X]), at_address(work, call[WEIGHT])
        bias, y = at_address(work, call[BIAS]), at_address(work, call[Y])
        N, I, O, columns, terms = call[N_], call[I_], call[O_], call[COLUMNS], call[TERMS]
        across = -(-O // columns)
        n, o = block // across * MOST_ROWS, block % across * columns
        n_end, o_end = min(n + MOST_ROWS, N), min(o + columns, O)
        for row in range(n, n_end):
            for column in range(o, o_end):
                y[row * O + column] = bias[column]
        for i in range(0, I, terms):
            add_dots(x, weight, y, n, n_end, o, o_end, i, min(terms, I - i), I, O)

    return forward


_forward_tiles, _forward_rows = (
    _make_forward(TILE_ROWS, TILE_COLUMNS),
    _make_forward(1, ROW_COLUMNS),
)


def _forward_block(work, call, block):
    _forward_tiles(work, call, block)


def _forward_row(work, call, block):
    _forward_rows(work, call, block)


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
    _product_block(grad_x, grad, O, 1, weight, n, n_end, v, v_end, I, O)
    _product_block(grad_weight, grad, 1, O, x, o, o_end, v, v_end, I, N)
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
def _product_block(c, a, a_row, a_term, b, m_begin, m_end, v_begin, v_end, width, K):
    """Write a block of ``c = a @ b``; rows of b and c have ``width`` columns."""
    step = TILE_COLUMNS * lanes(c)
    for k in range(0, max(1, K), BLOCK_TERMS):  # without terms the sums are 0
        terms, a_k, more = min(BLOCK_TERMS, K - k), a_term * k, int(k > 0)
        for v in range(v_begin, v_end, step):
            b_v, columns = width * k + v, min(step, v_end - v)
            for m in range(m_begin, m_end, TILE_ROWS):
                a_m, to, rows = a_k + m * a_row, m * width + v, min(TILE_ROWS, m_end - m)
                soon = b_v + step + m // TILE_ROWS % TILE_COLUMNS * lanes(c)
                product_tile(
                    c, to, a, a_m, a_row, a_term, b, b_v, width, terms, soon, rows, columns, more
                )


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


FORWARD, ROW, BACKWARD = Task(_forward_block), Task(_forward_row), Task(_backward_block)
