"""A linear layer and its gradients, in blocks that are whole cores' work and fit the caches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.dense_backward import (
    COLUMNS,
    I_,
    N_,
    O_,
    TASKS,
    WEIGHT,
    X,
    part_of,
    run_backward,
    team,
)
from kernels.backends.numba.dense_kernel import (
    BLOCK_BYTES,
    ROW_BYTES,
    ROW_COLUMNS,
    TILE_COLUMNS,
    TILE_ROWS,
    make_dot_tile,
)
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import at_address

LINE = 64
"""Bytes of a cache line: blocks begin where one does, if the rows do."""

MOST_ROWS, MOST_COLUMNS = 32, 32
"""Largest block of the forward pass: its rows of x are read from the L2 cache 8 times."""

BIAS, Y, TERMS = range(6, 9)
"""Entries that the backward pass does not have."""


def linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray) -> None:
    """Take dot products of rows of x and rows of the weights."""
    (N, I), O = x.shape, len(weight)
    start = np.zeros(O, x.dtype) if bias is None else bias
    columns = min(MOST_COLUMNS, part_of(O, _share(N), TILE_COLUMNS))
    block = BLOCK_BYTES if N > 1 else ROW_BYTES
    terms = part_of(I, -(-I * x.itemsize // block), LINE // x.itemsize)
    with FlatOutput(out) as y:
        blocks = -(-N // MOST_ROWS) * -(-O // columns)
        flat = flat_input(x), flat_input(weight)
        entries = (N, I, O, columns, *flat, flat_input(start), y, terms)
        run([Phase(FORWARD if N > 1 else ROW, blocks, team(N, I, O))], entries, y)


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
    run_backward((grad_y, x, weight), (grad_x, grad_weight, grad_bias), ())


def _share(N: int) -> int:
    """Return into how many parts the outputs are cut, beside the blocks of rows."""
    return -(-TASKS // max(1, -(-N // MOST_ROWS)))


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


FORWARD, ROW = Task(_forward_block), Task(_forward_row)
