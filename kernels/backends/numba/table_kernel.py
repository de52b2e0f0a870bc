"""The one inner loop: a matrix product whose operands are found through tables of offsets.

``C[m, v] += Σ_k A[m, k] · B[k, v]`` where ``A[m, k]`` is ``a[a_rows[m] + a_columns[k]]``, row m of
C starts at ``c[c_rows[m]]`` and row k of B at ``b[k · b_stride]``. With the offsets of pixels and
of a window's taps in the tables this is a convolution in any direction, of any stride and
dilation, without im2col: the indirect convolution of Dukhan (arXiv:1907.02129) on the
batch-reduce product of Georganas et al. (arXiv:1906.06440).

A tile of C is held in registers while k runs: TILE_ROWS × TILE_VECTORS accumulators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.jit import serial
from kernels.backends.numba.vector import (
    add,
    broadcast,
    lanes,
    load,
    load_first,
    multiply_add,
    repeat,
    replaced,
    store,
    store_first,
    zeros,
)

# AVX-512 has 32 registers: 8 × 2 accumulators, 2 of B and one of A. From 14 × 2 on LLVM stops
# unrolling and the tile spills (2 GFLOP/s instead of 87 on Zen 4). AVX2 and SSE have 16 registers.
TILE_ROWS = 8 if REGISTER_BYTES == 64 else 6
TILE_VECTORS = 2

BLOCK_TERMS = 512
"""Terms of the sums that are added up in registers before they go to C."""


def _make_tile(rows: int, vectors: int) -> Callable[..., Any]:
    """Make the tile of ``rows`` rows by ``vectors`` whole vectors."""
    count = rows * vectors

    @serial
    def tile(c, c_start, c_rows, m, a, a_start, a_rows, a_columns, b, b_start, b_stride):
        width = lanes(c)
        starts = repeat(a_start, rows)
        for i in range(rows):
            starts = replaced(starts, i, a_start + a_rows[m + i])
        total = repeat(zeros(c), count)
        for k in range(len(a_columns)):
            b_place = b_start + k * b_stride
            for j in range(vectors):
                b_vector = load(b, b_place + j * width)
                for i in range(rows):
                    a_vector = broadcast(a, starts[i] + a_columns[k])
                    at = i * vectors + j
                    total = replaced(total, at, multiply_add(a_vector, b_vector, total[at]))
        for i in range(rows):
            for j in range(vectors):
                place = c_start + c_rows[m + i] + j * width
                store(c, place, add(load(c, place), total[i * vectors + j]))

    return tile


def _make_edge(rows: int) -> Callable[..., Any]:
    """Make the tile of ``rows`` rows by the first ``valid`` lanes of one vector."""

    @serial
    def edge(c, c_start, c_rows, m, a, a_start, a_rows, a_columns, b, b_start, b_stride, valid):
        starts = repeat(a_start, rows)
        for i in range(rows):
            starts = replaced(starts, i, a_start + a_rows[m + i])
        total = repeat(zeros(c), rows)
        for k in range(len(a_columns)):
            b_vector = load_first(b, b_start + k * b_stride, valid)
            for i in range(rows):
                a_vector = broadcast(a, starts[i] + a_columns[k])
                total = replaced(total, i, multiply_add(a_vector, b_vector, total[i]))
        for i in range(rows):
            place = c_start + c_rows[m + i]
            store_first(c, place, add(load_first(c, place, valid), total[i]), valid)

    return edge


_full_tile = _make_tile(TILE_ROWS, TILE_VECTORS)
_edge = _make_edge(TILE_ROWS)
_row = _make_edge(1)


@serial
def multiply_accumulate(c, c_start, c_rows, a, a_start, a_rows, a_columns, b, b_start, b_stride, V):
    """Add A @ B to C, which has ``V`` columns; the lengths of the tables are its M and K.

    K goes in blocks: rounding errors then grow with a block's length and the number of blocks, not
    with K, and a block of B stays in the L2 cache.
    """
    for k in range(0, len(a_columns), BLOCK_TERMS):
        columns = a_columns[k : min(k + BLOCK_TERMS, len(a_columns))]
        b_block = b_start + k * b_stride
        _accumulate_block(c, c_start, c_rows, a, a_start, a_rows, columns, b, b_block, b_stride, V)


@serial
def _accumulate_block(c, c_start, c_rows, a, a_start, a_rows, a_columns, b, b_start, b_stride, V):
    M = len(a_rows)
    whole_rows = M - M % TILE_ROWS
    tile_width = TILE_VECTORS * lanes(c)
    whole_columns = V - V % tile_width
    for v in range(0, whole_columns, tile_width):
        c_v, b_v = c_start + v, b_start + v
        for m in range(0, whole_rows, TILE_ROWS):
            _full_tile(c, c_v, c_rows, m, a, a_start, a_rows, a_columns, b, b_v, b_stride)
    for v in range(0, V, lanes(c)):
        c_v, b_v, valid = c_start + v, b_start + v, min(V - v, lanes(c))
        if v >= whole_columns:
            for m in range(0, whole_rows, TILE_ROWS):
                _edge(c, c_v, c_rows, m, a, a_start, a_rows, a_columns, b, b_v, b_stride, valid)
        for m in range(whole_rows, M):
            _row(c, c_v, c_rows, m, a, a_start, a_rows, a_columns, b, b_v, b_stride, valid)
