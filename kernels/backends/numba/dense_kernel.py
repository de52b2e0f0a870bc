"""Tiles of the two products that a linear layer needs, held in registers while their sums grow.

Neither turns nor packs an operand, so that weights stay as PyTorch keeps them and are read once:

- Dot tiles, for ``x @ weight.T``: both operands' rows lie along the sum. A tile is TILE_ROWS
  rows by TILE_COLUMNS rows, a vector of partial sums each, whose lanes are added at the end.
- Product tiles, for ``grad_y @ weight`` and ``grad_y.T @ x``: the right operand's rows lie along
  the result's. A tile is TILE_ROWS rows by TILE_COLUMNS vectors.

4 × 4 in AVX-512's 32 registers reaches 205 and 226 of 235 GFLOP/s on two Zen 4 cores (128 rows,
6272 to 128). 8 × 2, 2 × 8 and 4 × 2 took a fifth to two thirds longer for dot products; 6 × 4 and
5 × 4 were at most 4 % faster for the other. Elsewhere there are 16 registers.

Rows beyond the edge of a matrix repeat its last one, columns are masked, and neither are stored:
tiles of other sizes for the edges would add two seconds to the first compilation. Only product
tiles that are whole have a loop of their own, whose stores need no masks: 32 rows, 6272 to 128,
both gradients 580 µs, then 515, and 490 since they fetch what they write.
"""

from __future__ import annotations

from collections.abc import Callable

from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.jit import serial
from kernels.backends.numba.vector import (
    add,
    add_products,
    add_sums,
    broadcast_rows,
    lanes,
    load_columns,
    load_first,
    load_rows,
    load_rows_first,
    prefetch,
    repeat,
    store,
    store_first,
    zeros,
)

TILE_ROWS = 4
TILE_COLUMNS = 4 if REGISTER_BYTES == 64 else 2

TILE = TILE_ROWS * TILE_COLUMNS

ROW_COLUMNS = REGISTER_BYTES // 8
"""Columns of the dot tile for a single row of x, whose time is that of reading the weights.

No more than a vector's lanes, of float64 too: their sums make one vector.
6272 to 128, which stay in the L3 cache: 25 µs on two cores (126 GB/s), OpenBLAS 23; 30 with 4
columns, and 33 in a tile of 4 rows.
"""

ROW_BYTES = 32768
"""Of such a row at a time: it goes on as long as errors of its sums allow."""

BLOCK_BYTES = 3072
"""Of a row in a tile: its 8 rows then stay in the L1 cache, and sums in registers are short."""


def make_dot_tile(height: int, width: int) -> Callable[..., None]:
    """Make the tile of so many rows and columns."""
    size = height * width

    @serial
    def dot_tile(y, y_start, y_step, x, x_start, w, w_start, step, terms, ahead, rows, columns):
        """Add the dot products of ``rows`` rows of x and ``columns`` rows of w to y."""
        step_k = lanes(x)
        rest = (terms - 1) % step_k + 1  # first, so that whole vectors are left for the loop
        left = load_rows_first(x, x_start, step, rows - 1, rest, height)
        right = load_rows_first(w, w_start, step, columns - 1, rest, width)
        total = add_products(repeat(zeros(x), size), left, right)
        for k in range(rest, terms, step_k):
            prefetch(w, ahead + k)
            left = load_rows(x, x_start + k, step, rows - 1, height)
            right = load_rows(w, w_start + k, step, columns - 1, width)
            total = add_products(total, left, right)
        add_sums(y, y_start, y_step, rows, columns, total, width)

    return dot_tile


def make_product_tile(*, whole: bool) -> Callable[..., None]:
    """Make the tile of sums of products; a ``whole`` one has all its rows and columns."""

    @serial
    def product_tile(
        c, c_start, c_row, a, a_start, a_row, a_term, b, b_start, b_row, terms, later, ahead,
        rows, columns, more,
    ):  # fmt: skip
        """Write a tile of ``a @ b``, and fetch ``later`` from ``ahead`` on, whose rows are c's.

        If ``more``, add to what c holds: by masks, without a branch, at which Numba would count
        references and spill the tile. What it writes is fetched before.
        """
        width = lanes(c)
        total = repeat(zeros(c), TILE)
        for k in range(terms):
            prefetch(later, ahead + k * c_row)
            prefetch(c, c_start + k // TILE_COLUMNS % TILE_ROWS * c_row + k % TILE_COLUMNS * width)
            left = broadcast_rows(a, a_start + k * a_term, a_row, rows - 1, TILE_ROWS)
            right = load_columns(b, b_start + k * b_row, columns, TILE_COLUMNS)
            total = add_products(total, left, right)
        for i in range(TILE_ROWS):
            for j in range(TILE_COLUMNS):
                place = c_start + i * c_row + j * width
                if whole:
                    before = load_first(c, place, width * more)
                    store(c, place, add(before, total[i * TILE_COLUMNS + j]))
                else:
                    valid = min(width, max(0, columns - j * width)) * int(i < rows)
                    before = load_first(c, place, valid * more)
                    store_first(c, place, add(before, total[i * TILE_COLUMNS + j]), valid)

    return product_tile


product_tile, product_edge = make_product_tile(whole=True), make_product_tile(whole=False)
