"""The forward pass of a linear layer for a few rows: their dot products with those of the weights.

A layer with one column is such a one with x and the weights exchanged, and so is a 1×1 convolution
to one channel.

Both operands' rows lie along the sum, so nothing is turned over or packed. A tile is some rows of x
by some of the weights, a vector of partial sums each, whose lanes are added at the end. 4 × 4 was
the best of several in AVX-512's 32 registers on Zen 4: 8 × 2, 2 × 8 and 4 × 2 took a fifth to two
thirds longer. Elsewhere there are 16.

Rows beyond the edge of a matrix repeat its last one and are not stored: tiles of other sizes for
the edges would add two seconds to the first compilation.
"""

from __future__ import annotations

from collections.abc import Callable

from kernels.backends.contract import FloatArray
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.dense_tables import (
    COLUMNS,
    I_,
    N_,
    O_,
    TASKS,
    WEIGHT,
    X,
    part_of,
    team,
)
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import flat_input
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add_products,
    add_sums,
    at_address,
    lanes,
    load_rows,
    load_rows_first,
    prefetch,
    repeat,
    zeros,
)

TILE_ROWS = 4
TILE_COLUMNS = 4 if REGISTER_BYTES == 64 else 2

ROW_COLUMNS = REGISTER_BYTES // 8
"""Columns of the tile for a single row of x, whose time is that of reading the weights.

No more than a vector's lanes, of float64 too: their sums make one vector.
6272 to 128, which stay in the L3 cache: 25 µs on two cores (126 GB/s), OpenBLAS 23; 30 with 4
columns, and 33 in a tile of 4 rows.
"""

ROW_BYTES = 32768
"""Of such a row at a time: it goes on as long as errors of its sums allow."""

BLOCK_BYTES = 3072
"""Of a row in a tile: its 8 rows then stay in the L1 cache, and sums in registers are short."""

LINE = 64
"""Bytes of a cache line: blocks begin where one does, if the rows do."""

MOST_COLUMNS = 128
"""Of a task. With 32, dot products of 6272 pixels with 16 to 64 weights would take 1.1 to 1.3, and
8 rows of 512 to 1000 1.04."""

BIAS, BIAS_STEP, Y, TERMS = range(6, 10)
"""Entries that the backward pass does not have."""


def multiply_few(x: FloatArray, weight: FloatArray, bias: FloatArray, y: FloatArray) -> None:
    """Write ``x @ weight.T + bias`` to flat y; of the bias there may be one for all columns."""
    (N, I), O = x.shape, len(weight)
    columns = max(1, min(MOST_COLUMNS, part_of(O, TASKS, TILE_COLUMNS)))
    block = BLOCK_BYTES if N > 1 else ROW_BYTES
    terms = part_of(I, -(-I * x.itemsize // block), LINE // x.itemsize)
    flat = flat_input(x), flat_input(weight), flat_input(bias)
    entries = (N, I, O, columns, *flat, int(len(bias) > 1), y, terms)
    run([Phase(FORWARD if N > 1 else ROW, -(-O // columns), team(N, I, O))], entries, y)


def _make_forward(height: int, width: int) -> Callable[..., None]:
    """Make the forward pass of tiles of so many rows and columns."""
    size = height * width

    @serial
    def add_tile(y, y_start, O, x, x_start, w, w_start, I, terms, ahead, rows, columns):
        """Add the dot products of ``rows`` rows of x and ``columns`` rows of w to y."""
        step = lanes(x)
        rest = (terms - 1) % step + 1  # first, so that whole vectors are left for the loop
        left = load_rows_first(x, x_start, I, rows - 1, rest, height)
        right = load_rows_first(w, w_start, I, columns - 1, rest, width)
        total = add_products(repeat(zeros(x), size), left, right)
        for k in range(rest, terms, step):
            prefetch(w, ahead + k)
            left = load_rows(x, x_start + k, I, rows - 1, height)
            right = load_rows(w, w_start + k, I, columns - 1, width)
            total = add_products(total, left, right)
        add_sums(y, y_start, O, rows, columns, total, width)

    @serial
    def add_dots(x, weight, y, N, o_begin, o_end, i, terms, I, O):
        """Add to columns of y the dot products of ``terms`` columns from ``i`` on."""
        for o in range(o_begin, o_end, width):
            columns = min(width, o_end - o)
            w = o * I + i
            # Weights come from memory: each tile asks for a row of those that are needed next.
            ahead = w + width * I if o + width < o_end else o_begin * I + i + terms
            for n in range(0, N, height):
                rows = min(height, N - n)
                soon = ahead + n // height % width * I
                add_tile(y, n * O + o, O, x, n * I + i, weight, w, I, terms, soon, rows, columns)

    @serial
    def forward(work, call, block):
        """Compute some columns of y."""
        x, weight = at_address(work, call[X]), at_address(work, call[WEIGHT])
        bias, y = at_address(work, call[BIAS]), at_address(work, call[Y])
        N, I, O, columns, terms = call[N_], call[I_], call[O_], call[COLUMNS], call[TERMS]
        o = block * columns
        o_end = min(o + columns, O)
        for row in range(N):
            for column in range(o, o_end):
                y[row * O + column] = bias[column * call[BIAS_STEP]]
        for i in range(0, I, terms):
            add_dots(x, weight, y, N, o, o_end, i, min(terms, I - i), I, O)

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
