"""The register tiles of the micro-kernel: right at all their edges, and in registers."""

from __future__ import annotations

import itertools
import re

import numba
import numpy as np
import pytest

from kernels.backends.numba import micro_kernel
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.micro_kernel import (
    ADJACENT,
    FETCHED_START,
    NOTHING,
    ROWS,
    START,
    SUMS,
    TERMS,
    ZEROS,
)
from kernels.backends.numba.vector import pointer

LANES, HIGHEST = REGISTER_BYTES // 4, micro_kernel.TILE_ROWS[0]

# Just below, at and above each limit of a tile; 0 and 1 rows; every number of columns that matters.
EDGES = list(
    itertools.product(
        sorted({0, 1, 33, *(m + d for m in micro_kernel.TILE_ROWS for d in (-1, 0, 1))}),
        (1, LANES - 1, LANES, LANES + 1, 2 * LANES - 1, 2 * LANES),
        ((), (3,), (5, 1)),
    )
)


@numba.njit
def _multiply(c, start, a, b, table, M, V, steps, fetched, beside):
    begin, row, a_k, b_k = steps
    micro_kernel.multiply_panel(
        *(pointer(c, 0), pointer(start, 0), pointer(a, 0), pointer(b, 0)),
        *(pointer(a, 0), pointer(table, 0), row, M, V, beside, 0, fetched),
        *(begin, 2, 1, 4, a_k, 3, b_k, 0, row),
    )


def _segments(lengths, step):
    """Return segments of so many terms, which begin a step apart."""
    return np.array([(step * i, n) for i, n in enumerate(lengths)], np.int64).reshape(-1, 2)


def _begun(rng, c, start, M, V, b_k, begin):
    """Return C with what M rows of it begin with, and where these are in A and C, in any order."""
    places = np.stack((rng.permutation(800)[:M], b_k * rng.permutation(M)), axis=-1)
    wanted, rows = c.copy(), 2 + places[:, 1:] + np.arange(V)
    if begin != SUMS:
        wanted[rows] = start[1 : 1 + V] if begin >= START else 0
    return wanted, places, rows


@pytest.mark.parametrize(("M", "V", "lengths"), EDGES)
@pytest.mark.parametrize(
    ("begin", "fetched"),
    [(ZEROS, 0), (START, 9), (FETCHED_START, 0), (FETCHED_START, 9), (SUMS, 0)],
)
def test_micro_kernel_at_the_edges_of_its_tiles(M, V, lengths, begin, fetched):
    rng = np.random.default_rng(0)
    a_k, b_k = 2, 2 * LANES + 1
    a, b, start, c = (rng.standard_normal(n).astype("float32") for n in (900, 9 * b_k, 2000, 2000))
    segments = _segments(lengths, 10)
    wanted, places, rows = _begun(rng, c, start, M, V, b_k, begin)
    k_b = 0
    for offset, length in segments:
        for k in range(length):
            column = a[4 + places[:, 0] + offset + k * a_k]
            wanted[rows] += column[:, None] * b[3 + k_b * b_k :][:V]
            k_b += 1
    micro_kernel.prepare(np.dtype("float32"))
    table = np.concatenate((segments, places)).reshape(-1)
    _multiply(c, start, a, b, table, M, V, (begin, len(segments), a_k, b_k), fetched, NOTHING)
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("gaps", [(), (1,), (HIGHEST - 1,), (HIGHEST, 2 * HIGHEST + 3)])
@pytest.mark.parametrize("last", [1, None])
@pytest.mark.parametrize(("begin", "fetched"), [(ZEROS, 0), (ZEROS, 9), (SUMS, 0), (SUMS, 9)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_are_adjacent_but_for_some_gaps(gaps, last, begin, fetched, dtype):
    """A's rows lie in the order of memory, those of C anywhere; ``last`` lanes of two vectors."""
    rng, M, terms, a_k, b_k = np.random.default_rng(0), 3 * HIGHEST + 5, 7, 90, 2 * LANES + 1
    lanes = REGISTER_BYTES // np.dtype(dtype).itemsize
    V = lanes + (last or lanes)
    a, b, c = (rng.standard_normal(n).astype(dtype) for n in (900, 9 * b_k, 4000))
    firsts = np.arange(M) + sum((np.arange(M) >= gap).astype(int) for gap in gaps)
    places = np.stack((firsts, b_k * rng.permutation(M)), axis=-1)
    wanted, rows = c.copy(), 2 + places[:, 1:] + np.arange(V)
    if begin == ZEROS:
        wanted[rows] = 0
    for k in range(terms):
        wanted[rows] += a[4 + places[:, :1] + k * a_k] * b[3 + k * b_k :][:V]
    micro_kernel.prepare(np.dtype(dtype))
    table = np.concatenate((_segments((terms,), 0), places)).reshape(-1)
    _multiply(c, c, a, b, table, M, V, (begin, 1, a_k, b_k), fetched, ADJACENT)
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("M", sorted({M for M, _, _ in EDGES}))
@pytest.mark.parametrize("V", [1, LANES - 1, LANES])
@pytest.mark.parametrize("lengths", [(), (2,), (6, 4)])
@pytest.mark.parametrize("begin", [ZEROS, START, FETCHED_START, SUMS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_one_vector_on_pairs_of_terms(M, V, lengths, begin, dtype):
    """B's rows are interleaved two by two, each 16 bytes with the other row's."""
    rng, lanes, b_k = np.random.default_rng(0), REGISTER_BYTES // np.dtype(dtype).itemsize, 40
    V = min(V, lanes)
    a, b, start, c = (rng.standard_normal(n).astype(dtype) for n in (900, 10 * b_k, 2000, 2000))
    b = b.reshape(10, b_k)
    packed = b.copy()
    for k in range(0, 10, 2):
        both = b[k : k + 2, :lanes].reshape(2, -1, 16 // b.itemsize)
        halves = both.transpose(1, 2, 0).reshape(len(both[0]), 2, -1)
        packed[k : k + 2, :lanes] = halves.transpose(1, 0, 2).reshape(2, -1)
    segments = _segments(lengths, 12)
    wanted, places, rows = _begun(rng, c, start, M, V, b_k, begin)
    row = 0
    for offset, length in segments:
        for k in range(length):
            wanted[rows] += a[4 + places[:, :1] + offset + k] * b[row, :V]
            row += 1
    micro_kernel.prepare(np.dtype(dtype))
    table = np.concatenate((segments, places)).reshape(-1)
    packed = np.concatenate((np.zeros(3, dtype), packed.reshape(-1)))
    _multiply(c, start, a, packed, table, M, V, (begin, len(segments), 1, b_k), 0, TERMS)
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("M", sorted({2 * M for M, _, _ in EDGES}))
@pytest.mark.parametrize("lengths", [(), (3,), (5, 2)])
@pytest.mark.parametrize("begin", [ZEROS, SUMS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_one_vector_on_pairs_of_rows(M, lengths, begin, dtype):
    """A's rows lie side by side two by two; those of C anywhere."""
    rng, lanes = np.random.default_rng(0), REGISTER_BYTES // np.dtype(dtype).itemsize
    a_k, b_k = 3, lanes + 1
    a, b, c = (rng.standard_normal(n).astype(dtype) for n in (900, 9 * b_k, 4000))
    segments = _segments(lengths, 20)
    firsts = np.repeat(2 * rng.permutation(400)[: M // 2], 2) + np.arange(M) % 2
    places = np.stack((firsts, b_k * rng.permutation(M)), axis=-1)
    wanted, row = c.copy(), 0
    rows = 2 + places[:, 1:] + np.arange(lanes)
    if begin == ZEROS:
        wanted[rows] = 0
    for offset, length in segments:
        for k in range(length):
            column = a[4 + places[:, :1] + offset + k * a_k]
            wanted[rows] += column * b[3 + row * b_k :][:lanes]
            row += 1
    micro_kernel.prepare(np.dtype(dtype))
    table = np.concatenate((segments, places)).reshape(-1)
    _multiply(c, c, a, b, table, M, lanes, (begin, len(segments), a_k, b_k), 0, ROWS)
    np.testing.assert_allclose(c, wanted, rtol=1e-5, atol=1e-5)


TILES = {
    **{f"{n}x2": micro_kernel._make_tile(n, 2) for n in micro_kernel.TILE_ROWS},
    f"{HIGHEST}x2-ahead": micro_kernel._make_tile(HIGHEST, 2, ahead=True),
    f"{HIGHEST}x2-adjacent": micro_kernel._make_tile(HIGHEST, 2, adjacent=1),
    f"{HIGHEST}x2-adjacent-ahead": micro_kernel._make_tile(HIGHEST, 2, ahead=True, adjacent=1),
    **{f"{n}-terms": micro_kernel._make_term_pair_tile(n) for n in micro_kernel.TILE_ROWS},
    **{f"{n}-rows": micro_kernel._make_row_pair_tile(n) for n in micro_kernel.TILE_ROWS},
}


@pytest.mark.compiled
@pytest.mark.skipif(REGISTER_BYTES != 64, reason="counts AVX-512 registers")
@pytest.mark.parametrize("name", TILES)
def test_the_tile_stays_in_registers(name):
    """The inner loops: full-width FMAs on distinct accumulators, and nothing stored."""
    tile, rows = TILES[name], int(re.match(r"\d+", name)[0])

    @numba.njit
    def run(c, a, b, table):
        tile(
            *(pointer(c, 0), pointer(c, 0), pointer(a, 0), pointer(b, 0), pointer(a, 0), 0, 0),
            *(pointer(table, 0), 1, LANES, NOTHING, SUMS, 0, 0, 0, 1, 0, 2 * LANES, 0, 1),
        )

    operands = (np.zeros(2000, np.float32) for _ in range(3))
    run(*operands, np.zeros(4 * rows + 2, np.int64))
    (assembly,) = run.inspect_asm().values()
    loops = [block for block in _blocks(assembly) if any("vfmadd" in line for line in block)]
    sums = {line.split()[-1] for loop in loops for line in loop if "vfmadd" in line}
    assert len(sums) >= 2 * rows
    assert ("prefetch" in "".join(itertools.chain(*loops))) == name.endswith("ahead")
    for loop in loops:
        fmas = [line for line in loop if "vfmadd" in line]
        assert all("zmm" in line for line in fmas)
        assert not any("vmov" in line and line.rstrip().endswith(")") for line in loop)


def _blocks(assembly):
    """Split assembly at its labels and jumps."""
    blocks = [[]]
    for line in assembly.splitlines():
        if line.startswith(".LBB") or line.lstrip().startswith("j"):
            blocks.append([])
        blocks[-1].append(line)
    return blocks
