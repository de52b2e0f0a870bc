"""Linear layers of the Numba backend at the edges of their tiles and blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import kernels
from kernels.backends.numba import dense_backward, dense_panels
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.dense_dots import BLOCK_BYTES, MOST_COLUMNS, TILE_COLUMNS, TILE_ROWS
from kernels.backends.numba.dense_tables import TASKS
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.crosscheck.fused_calls import linear_update
from tests.kernels.comparing import assert_within, random


def tiles(lanes):
    """Return sizes just below, at and above those of tiles of dot products, and of panels."""
    panel = PANEL_VECTORS * lanes
    yield from itertools.product(
        (1, TILE_ROWS - 1, TILE_ROWS, TILE_ROWS + 1),
        (1, lanes - 1, lanes, lanes + 1, panel, panel + 1),
        (1, TILE_COLUMNS - 1, TILE_COLUMNS, TILE_COLUMNS + 1),
    )
    yield from itertools.product(
        (lanes - 1, lanes, lanes + 1, panel, panel + 1),
        (1, lanes, panel + 1),
        (1, lanes - 1, lanes + 1),
    )


def blocks(lanes):
    """Return sizes at the edges of blocks, and of their parts."""
    panel = PANEL_VECTORS * lanes
    group, row_bytes = dense_panels.MOST_PANELS * panel, REGISTER_BYTES // lanes
    yield 3, 3, MOST_COLUMNS + 1
    yield 2, BLOCK_BYTES // row_bytes, 5
    yield 5, BLOCK_BYTES // row_bytes + 1, 2
    yield 2, 3, dense_backward.BLOCK_TERMS + 1
    yield dense_backward.BLOCK_TERMS + 1, 3, 2
    yield dense_backward.BLOCK_ROWS + 1, panel + 1, dense_backward.BLOCK_ROWS + 1
    yield group, 2, dense_panels.MOST_COLUMNS
    yield group + 1, 2, dense_panels.MOST_COLUMNS + 1
    yield lanes + 3, TASKS * dense_backward.MOST_PANELS * panel + 5, 3
    yield from in_parts(lanes)


def in_parts(lanes):
    """Return sizes whose sums are cut into parts, and these into blocks."""
    most = dense_panels.BLOCK_TERMS
    return itertools.product(
        (lanes, PANEL_VECTORS * lanes + 1), (most, 8 * most + 7, (TASKS + 3) * most), (64, 300)
    )


EDGES = [
    (dtype, *size)
    for dtype, lanes in (("float32", REGISTER_BYTES // 4), ("float64", REGISTER_BYTES // 8))
    for size in (*tiles(lanes), *blocks(lanes))
]


@pytest.mark.parametrize(("dtype", "N", "I", "O"), EDGES)
def test_linear_at_the_edges_of_tiles_and_blocks(dtype, N, I, O):
    x, weight, bias, grad_y = random(0, dtype, (N, I), (O, I), (O,), (N, O))
    got = (
        kernels.linear(x, weight, bias, backend="numba"),
        *kernels.linear_backward(grad_y, x, weight, backend="numba"),
    )
    exact = _products(*(a.astype(np.float64) for a in (x, weight, bias, grad_y)))
    sizes = _products(*(abs(a) for a in (x, weight, bias, grad_y)))
    for part, wanted, size, terms in zip(got, exact, sizes, (I + 1, O, N, N), strict=True):
        assert_within(part, wanted.astype(dtype), size, terms)


def _products(x, weight, bias, grad_y):
    return x @ weight.T + bias, grad_y @ weight, grad_y.T @ x, grad_y.sum(axis=0)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_the_parts_of_a_sum_are_those_meant(lanes):
    """Otherwise the cases above say nothing of them."""
    cuts = {size: dense_panels.cut(*size, lanes) for size in in_parts(lanes)}
    assert any(cut.parts > 1 for cut in cuts.values())
    assert any(cut.parts > 1 and cut.columns < O for (_, _, O), cut in cuts.items())
    assert any(cut.terms > dense_panels.BLOCK_TERMS for cut in cuts.values())


@pytest.mark.parametrize(
    ("N", "parts", "columns"),
    [(32, 16, 128), (128, 16, 128), (256, 8, 128), (512, 4, 128), (2048, 1, 128)],
)
def test_rows_are_packed_once_where_there_are_tasks_enough(N, parts, columns):
    """By each block of columns they would be packed anew."""
    cut = dense_panels.cut(N, 6272, 128, 16)
    assert (cut.parts, cut.columns) == (parts, columns)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("N", "I", "O"), [(5, 1568, 150), (32, 1568, 256), (256, 1568, 64)])
def test_gradients_have_the_bits_of_an_update_whose_tasks_have_all_rows(N, I, O, dtype):
    """Without an update, rows are cut into parts: these must not add up in another order."""
    x, weight, grad_y = random(0, dtype, (N, I), (O, I), (N, O))
    wanted = kernels.linear_backward(grad_y, x, weight, backend="numba")
    *got, _ = linear_update(grad_y, x, weight, np.array([0.25]), backend="numba")
    for part, same in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(part, same)
