"""The inner loop where lanes are groups: sums of products of vectors, in registers.

As ``micro_kernel``, with the same tables, but each row of A has a vector at each term instead of a
number: ``C[m, v] += Σ_k A[m, k, v] · B[k, v]``. So it loads a vector for each multiply-add, and is
as fast as the L1 cache, at best half as fast as the micro-kernel with full vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.jit import serial
from kernels.backends.numba.micro_kernel import START, SUMS
from kernels.backends.numba.standalone import Standalone
from kernels.backends.numba.vector import (
    add_rows,
    lanes,
    lanewise_update,
    repeat_row,
    store_rows,
    store_rows_first,
)

TILE_ROWS = (18, 9, 4, 2, 1) if REGISTER_BYTES == 64 else (9, 6, 3, 2, 1)
"""Rows of the tiles: of a weight gradient's these are the taps of one or two channels' 3×3."""


def _make_tile(rows: int) -> Callable[..., Any]:
    @serial
    def tile(
        c, start, a, b, table, row, c_row, valid,
        begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last,
    ):  # fmt: skip
        total = repeat_row(start, start_place, lanes(c) if begin == START else 0, rows, 1)
        for s in range(first, last):
            place = a_place + table[2 * s]
            for _ in range(table[2 * s + 1]):
                total = lanewise_update(total, rows, a, place, table, 2 * row, b, b_place)
                place += a_k
                b_place += b_k
        if begin == SUMS:
            total = add_rows(total, rows, c, c_place, table, 2 * c_row + 1)
        if valid == lanes(c):
            store_rows(total, rows, c, c_place, table, 2 * c_row + 1)
        else:
            store_rows_first(total, rows, c, c_place, table, 2 * c_row + 1, valid)

    return tile


_rows_0, _rows_1, _rows_2, _rows_3, _rows_4 = TILE_ROWS
_tile_0, _tile_1, _tile_2, _tile_3, _tile_4 = (_make_tile(rows) for rows in TILE_ROWS)


def multiply_groups(
    c, start, a, b, table, row, c_row, M, valid,
    begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last,
):  # fmt: skip
    """Compute M rows of C, of which ``valid`` lanes are stored.

    The arguments are those of ``multiply_panel``; C's rows have places of their own, from pair
    ``c_row`` on. What is added to, SUMS, is whole vectors.
    """
    steps = begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last
    end = row + M
    c_row -= row
    while row < end:
        if end - row >= _rows_0:
            _tile_0(c, start, a, b, table, row, c_row + row, valid, *steps)
            row += _rows_0
        elif end - row >= _rows_1:
            _tile_1(c, start, a, b, table, row, c_row + row, valid, *steps)
            row += _rows_1
        elif end - row >= _rows_2:
            _tile_2(c, start, a, b, table, row, c_row + row, valid, *steps)
            row += _rows_2
        elif end - row >= _rows_3:
            _tile_3(c, start, a, b, table, row, c_row + row, valid, *steps)
            row += _rows_3
        else:
            _tile_4(c, start, a, b, table, row, c_row + row, valid, *steps)
            row += _rows_4


prepare = Standalone(multiply_groups, pointers=4, integers=13).prepare
"""To be called with a dtype before any loop nest that multiplies groups."""
