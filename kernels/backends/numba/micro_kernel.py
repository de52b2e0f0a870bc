"""The one inner loop: a matrix product on tiles of C that stay in registers.

``C[m, v] += Σ_k A[m, k] · B[k, v]``, where a table says where each row of A and of C begins, A's
columns come in segments (the taps of a window that lie side by side), and B is packed so that the
vectors of a row of the tile follow one another. So one kernel serves a convolution in any
direction, of any stride and dilation, and Winograd's products: the batch-reduce product of
Georganas et al. (arXiv:1906.06440). Thanks to the table a tile takes pixels from several rows of an
image, and from several images: with rows at a fixed distance, images of 7 × 7 had tiles of 4, 2 and
1 pixels. It costs 0.5 % (14 rows × 2 vectors) to 2.5 % (14 × 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.jit import serial
from kernels.backends.numba.standalone import Standalone
from kernels.backends.numba.vector import (
    add_pairs,
    add_rows,
    add_rows_first,
    folded,
    lanes,
    prefetch,
    prefetch_rows,
    rank_k_update,
    repeat_row,
    row_pair_update,
    store_rows,
    store_rows_first,
    taken_apart,
    term_pair_update,
    with_zeros,
)

PANEL_VECTORS = 2
"""Vectors in a row of a tile, and of a panel that B is packed in."""

TILE_ROWS = (14, 8, 4, 2, 1) if REGISTER_BYTES == 64 else (6, 4, 3, 2, 1)
"""Rows of the tiles. 14 × 2 accumulators and 3 operands fit AVX-512's 32 registers, 6 × 2 the 16
of AVX2 and SSE. On Zen 4 each height but the last ran at 95 to 99 % of peak. On Zen 5, of twice
the peak, a tile of 2 vectors runs at 99 %, one of one vector is bound by its loads: 14 rows and 512
terms 68 %, two terms at a time, which share what says where a row is, 72 %, pairs of terms or of
rows 98 %; 16 terms 51 %, pairs of terms 63 %, of rows 73 %."""

LEAST_SUMS, MOST_TIMES = 8, 4
"""Sums that a core is to work on at a time: a multiply-add takes 4 cycles, and two begin in each. A
tile of fewer has them up to so many times over. Weight gradients of 32 images through 1×1 on 2
threads of Zen 5: 3 channels to 16 0.54 of the time (also by pairs), 2 to 16 0.80, 4 to 16 0.86."""

ZEROS, SUMS, START, FETCHED_START = range(4)
"""What C begins from: zeros; what it holds; a row that is the same for all, as a bias; the same,
and the lines of C are asked for before the sums are taken. So are those that hold sums: the weight
gradient of 8 images of 28×28, 128 channels to 128, 0.92 to 0.94 of the time on 2 threads of a Xeon
(Emerald Rapids), others 0.97 to 1.01. With zeros, whose lines mostly are near, 16 to 32 channels
forward by Winograd's algorithm would take 1.07."""

NOTHING, TERMS, ROWS, ADJACENT = range(4)
"""What lies side by side in memory: terms or rows two by two, so that a tile of one vector
multiplies pairs; or many rows, so that a tile of two need not look up where each is. In weight
gradients the highest tile took 0.83 to 0.93 of the time so, on one thread of a Xeon (Emerald
Rapids). Of rows at any fixed distance, as pixels are, one place in three would do: 0.94 to 1.00."""


def _times(sums: int) -> int:
    """Return how often a tile has its sums, a power of two."""
    return min(MOST_TIMES, 1 << max(1, LEAST_SUMS // sums).bit_length() - 1)


def _make_tile(
    rows: int, vectors: int, *, ahead: bool = False, adjacent: int = 0
) -> Callable[..., Any]:
    """Make the product for ``rows`` rows by ``vectors`` vectors, the last with ``valid`` lanes.

    All six operands are pointers: the reference counts of arrays made LLVM spill the tile. With
    ``ahead`` each term asks for a line of ``later``, from ``line`` on.
    """
    highest = rows == TILE_ROWS[0] and vectors == PANEL_VECTORS
    times = _times(rows * vectors)
    columns = max(times, 2 if vectors == 1 else 1)

    @serial
    def tile(
        c, start, a, b, later, line, until, table, row, valid, beside,
        begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last,
    ):  # fmt: skip
        whole = (vectors - 1) * lanes(c)
        total = repeat_row(
            start, start_place, whole + valid if begin >= START else 0, rows, vectors
        )
        if highest and begin != ZEROS and begin != START:
            prefetch_rows(total, rows, c, c_place, table, 2 * row + 1)
        sums = with_zeros(total, times)
        for s in range(first, last):
            place = a_place + table[2 * s]
            terms = table[2 * s + 1]
            if columns > 1:
                for _ in range(terms // columns):
                    sums = rank_k_update(
                        sums, rows, times, columns, a, place, a_k, table, 2 * row, b, b_place, b_k,
                        adjacent,
                    )  # fmt: skip
                    place += columns * a_k
                    b_place += columns * b_k
                terms %= columns
            for _ in range(terms):
                if ahead:
                    prefetch(later, line)
                    line += lanes(c)
                sums = rank_k_update(
                    sums, rows, times, 1, a, place, a_k, table, 2 * row, b, b_place, b_k, adjacent
                )
                place += a_k
                b_place += b_k
        total = folded(sums, times)
        if valid == lanes(c):
            if begin == SUMS:
                total = add_rows(total, rows, c, c_place, table, 2 * row + 1)
            store_rows(total, rows, c, c_place, table, 2 * row + 1)
        else:
            if begin == SUMS:
                total = add_rows_first(total, rows, c, c_place, table, 2 * row + 1, valid)
            store_rows_first(total, rows, c, c_place, table, 2 * row + 1, valid)
        return line

    return tile


def _make_term_pair_tile(rows: int) -> Callable[..., Any]:
    """Make the product for ``rows`` rows by one vector, two terms side by side.

    What a pair of A's elements is multiplied by are two vectors: so many loads as a tile of two
    vectors has. A's columns lie side by side (``a_k`` is 1), and segments have even lengths.
    """

    @serial
    def tile(
        c, start, a, b, later, line, until, table, row, valid, beside,
        begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last,
    ):  # fmt: skip
        pairs = repeat_row(start, start_place, 0, rows, 2)
        for s in range(first, last):
            place = a_place + table[2 * s]
            for _ in range(table[2 * s + 1] // 2):
                pairs = term_pair_update(pairs, rows, a, place, table, 2 * row, b, b_place, b_k)
                place += 2
                b_place += 2 * b_k
        total = repeat_row(start, start_place, valid if begin >= START else 0, rows, 1)
        if begin == SUMS:
            total = add_rows_first(total, rows, c, c_place, table, 2 * row + 1, valid)
        total = add_pairs(total, pairs)
        store_rows_first(total, rows, c, c_place, table, 2 * row + 1, valid)
        return line

    return tile


def _make_row_pair_tile(pairs: int) -> Callable[..., Any]:
    """Make the product for twice ``pairs`` rows by one vector; rows lie in memory two by two.

    So what a pair of A's elements is multiplied by are two vectors here, too.
    """
    rows = 2 * pairs
    times = _times(rows)
    height = times * rows

    @serial
    def tile(
        c, start, a, b, later, line, until, table, row, valid, beside,
        begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last,
    ):  # fmt: skip
        sums = repeat_row(start, start_place, 0, height, 1)
        for s in range(first, last):
            place = a_place + table[2 * s]
            terms = table[2 * s + 1]
            if times > 1:
                for _ in range(terms // times):
                    sums = row_pair_update(
                        sums, pairs, times, a, place, a_k, table, 2 * row, b, b_place, b_k
                    )
                    place += times * a_k
                    b_place += times * b_k
                terms %= times
            for _ in range(terms):
                sums = row_pair_update(
                    sums, pairs, 1, a, place, a_k, table, 2 * row, b, b_place, b_k
                )
                place += a_k
                b_place += b_k
        total = taken_apart(folded(sums, times))
        if begin == SUMS:
            total = add_rows(total, rows, c, c_place, table, 2 * row + 1)
        store_rows(total, rows, c, c_place, table, 2 * row + 1)
        return line

    return tile


def _make_wide_tile(rows: int) -> Callable[..., Any]:
    """Make the choice between tiles of whole panels, by what their rows are and what is fetched.

    Each of those that there is a choice of takes 0.3 s to compile: there is one for the highest.
    """
    plain = _make_tile(rows, PANEL_VECTORS)
    if rows < TILE_ROWS[0]:
        return plain
    ahead = _make_tile(rows, PANEL_VECTORS, ahead=True)
    adjacent = _make_tile(rows, PANEL_VECTORS, adjacent=1)
    adjacent_ahead = _make_tile(rows, PANEL_VECTORS, ahead=True, adjacent=1)

    @serial
    def tile(c, start, a, b, later, line, until, table, row, valid, beside, *steps):
        operands = c, start, a, b, later, line, until, table, row, valid, beside
        if beside == ADJACENT and table[2 * (row + rows - 1)] - table[2 * row] == rows - 1:
            if line < until:
                return adjacent_ahead(*operands, *steps)
            return adjacent(*operands, *steps)
        return ahead(*operands, *steps) if line < until else plain(*operands, *steps)

    return tile


def _make_product(tiles: Iterable[Callable[..., Any]], rows: Sequence[int]) -> Callable[..., Any]:
    """Make the product for any number of rows: as many of the highest tile as fit, then lower."""
    rows_0, rows_1, rows_2, rows_3, rows_4 = rows
    tile_0, tile_1, tile_2, tile_3, tile_4 = tiles

    @serial
    def product(c, start, a, b, later, line, until, table, row, M, valid, beside, steps):
        end = row + M
        while row < end:
            operands = c, start, a, b, later, line, until, table, row, valid, beside
            if end - row >= rows_0:
                line = tile_0(*operands, *steps)
                row += rows_0
            elif end - row >= rows_1:
                tile_1(*operands, *steps)
                row += rows_1
            elif end - row >= rows_2:
                tile_2(*operands, *steps)
                row += rows_2
            elif end - row >= rows_3:
                tile_3(*operands, *steps)
                row += rows_3
            else:
                tile_4(*operands, *steps)
                row += rows_4

    return product


_wide = _make_product(map(_make_wide_tile, TILE_ROWS), TILE_ROWS)
_narrow = _make_product((_make_tile(rows, 1) for rows in TILE_ROWS), TILE_ROWS)
_by_terms = _make_product(map(_make_term_pair_tile, TILE_ROWS), TILE_ROWS)
_by_rows = _make_product(map(_make_row_pair_tile, TILE_ROWS), [2 * pairs for pairs in TILE_ROWS])


def multiply_panel(
    c, start, a, b, later, table, row, M, V, beside, line, until,
    begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last,
):  # fmt: skip
    """``C = A @ B`` for a panel: M rows, ``V`` columns, at most PANEL_VECTORS vectors.

    ``table`` has pairs of integers. Pair ``row + i`` says where row i of A and of C begin, from
    ``a[a_place]`` and ``c[c_place]`` on; those from ``first`` to ``last`` are the segments: offset
    and length, so that A's element (i, k) is at ``a[a_place + row's place + offset + k · a_k]``.
    B's rows are ``b_k`` apart from ``b[b_place]`` on. ``begin`` says what is added to, START being
    ``start[start_place]`` and so on. What follows the product needs ``later[line : until]``, about:
    it is fetched. All operands are pointers.

    ``beside`` says what lies side by side in memory. If V is one vector: TERMS, two by two A's
    columns, where B's rows are interleaved; ROWS, two by two those of A; or NOTHING. If it is more,
    ADJACENT says that rows of A may, for each is somewhere behind the one before.
    """
    steps = begin, c_place, start_place, a_place, a_k, b_place, b_k, first, last
    width = lanes(c)
    if width < V:
        _wide(c, start, a, b, later, line, until, table, row, M, V - width, beside, steps)
    elif beside == TERMS:
        _by_terms(c, start, a, b, later, line, until, table, row, M, V, beside, steps)
    elif beside == ROWS:
        _by_rows(c, start, a, b, later, line, until, table, row, M, V, beside, steps)
    else:
        _narrow(c, start, a, b, later, line, until, table, row, M, V, beside, steps)


prepare = Standalone(multiply_panel, pointers=5, integers=15).prepare
"""To be called with a dtype before any loop nest that multiplies."""
