"""The one inner loop: a matrix product on tiles of C that stay in registers.

``C[m, v] += Σ_k A[m, k] · B[k, v]``, where A's rows are ``a_step`` apart and its columns come in
segments (the taps of a window that lie side by side), and B is packed so that the vectors of a row
of the tile follow one another. So one kernel serves a convolution in any direction, of any stride
and dilation, and Winograd's products: the batch-reduce product of Georganas et al.
(arXiv:1906.06440).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.jit import serial
from kernels.backends.numba.standalone import Standalone
from kernels.backends.numba.vector import (
    add_rows,
    add_rows_first,
    lanes,
    rank_one_update,
    repeat,
    store_rows,
    store_rows_first,
    zeros,
)

PANEL_VECTORS = 2
"""Vectors in a row of a tile, and of a panel that B is packed in."""

TILE_ROWS = (14, 8, 4, 2, 1) if REGISTER_BYTES == 64 else (6, 4, 3, 2, 1)
"""Rows of the tiles. 14 × 2 accumulators and 3 operands fit AVX-512's 32 registers, 6 × 2 the 16
of AVX2 and SSE. On Zen 4 each height but the last ran at 95 to 99 % of peak."""


NO_BASE = -1
"""For ``base_step``: C starts from zero."""


def _make_tile(rows: int, vectors: int) -> Callable[..., Any]:
    """Make the product for ``rows`` rows by ``vectors`` vectors, the last with ``valid`` lanes.

    ``C = base + A @ B``: the base is a bias, with rows 0 apart, or what C holds already. All five
    operands are pointers: the reference counts of arrays made LLVM spill the tile.
    """
    count = rows * vectors

    @serial
    def tile(
        c, base, a, b, segments, c_place, base_place, a_place, valid,
        c_step, base_step, a_step, a_k, b_place, b_k, first, last,
    ):  # fmt: skip
        total = repeat(zeros(c), count)
        for s in range(first, last):
            place = a_place + segments[2 * s]
            for _ in range(segments[2 * s + 1]):
                total = rank_one_update(total, rows, a, place, a_step, b, b_place)
                place += a_k
                b_place += b_k
        if valid == lanes(c):
            if base_step != NO_BASE:
                total = add_rows(total, rows, base, base_place, base_step)
            store_rows(total, rows, c, c_place, c_step)
        else:
            if base_step != NO_BASE:
                total = add_rows_first(total, rows, base, base_place, base_step, valid)
            store_rows_first(total, rows, c, c_place, c_step, valid)

    return tile


def _make_product(vectors: int) -> Callable[..., Any]:
    """Make the product for any number of rows: as many of the highest tile as fit, then lower."""
    rows_0, rows_1, rows_2, rows_3, rows_4 = TILE_ROWS
    tile_0, tile_1, tile_2, tile_3, tile_4 = (_make_tile(rows, vectors) for rows in TILE_ROWS)

    @serial
    def product(c, base, a, b, segments, M, c_place, base_place, a_place, valid, steps):
        c_step, base_step, a_step = steps[:3]
        m = 0
        while m < M:
            c_m = c_place + m * c_step
            base_m = base_place + m * base_step
            a_m = a_place + m * a_step
            if M - m >= rows_0:
                tile_0(c, base, a, b, segments, c_m, base_m, a_m, valid, *steps)
                m += rows_0
            elif M - m >= rows_1:
                tile_1(c, base, a, b, segments, c_m, base_m, a_m, valid, *steps)
                m += rows_1
            elif M - m >= rows_2:
                tile_2(c, base, a, b, segments, c_m, base_m, a_m, valid, *steps)
                m += rows_2
            elif M - m >= rows_3:
                tile_3(c, base, a, b, segments, c_m, base_m, a_m, valid, *steps)
                m += rows_3
            else:
                tile_4(c, base, a, b, segments, c_m, base_m, a_m, valid, *steps)
                m += rows_4

    return product


_wide, _narrow = _make_product(PANEL_VECTORS), _make_product(1)


def multiply_panel(
    c, base, a, b, segments, M, V, c_place, base_place, a_place,
    c_step, base_step, a_step, a_k, b_place, b_k, first, last,
):  # fmt: skip
    """``C = base + A @ B`` for a panel: M rows, ``V`` columns, at most PANEL_VECTORS vectors.

    Row i of C is at ``c[c_place + i · c_step]``, of the base at
    ``base[base_place + i · base_step]``; A's element (i, k) is at
    ``a[a_place + i · a_step + offset + k · a_k]`` with the offset and length of each segment from
    ``first`` to ``last``, two integers in ``segments``; B's rows are ``b_k`` apart from
    ``b[b_place]`` on. All operands are pointers.
    """
    steps = c_step, base_step, a_step, a_k, b_place, b_k, first, last
    width = lanes(c)
    if width < V:
        _wide(c, base, a, b, segments, M, c_place, base_place, a_place, V - width, steps)
    else:
        _narrow(c, base, a, b, segments, M, c_place, base_place, a_place, V, steps)


prepare = Standalone(multiply_panel, pointers=4, integers=13).prepare
"""To be called with a dtype before any loop nest that multiplies."""
