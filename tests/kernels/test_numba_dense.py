"""Linear layers of the Numba backend at the edges of their tiles and blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import kernels
from kernels.backends.numba import dense_backward, dense_panels
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.dense_dots import BLOCK_BYTES, MOST_COLUMNS, TILE_COLUMNS, TILE_ROWS
from kernels.backends.numba.dense_tables import BLOCK_ROWS, TASKS
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from tests.kernels.comparing import assert_within, random

LANES = REGISTER_BYTES // 4
PANEL = PANEL_VECTORS * LANES
GROUP = dense_panels.MOST_PANELS * PANEL

# Just below, at and above each limit: of a tile of dot products, of panels, of blocks.
IN_A_TILE = itertools.product(
    (1, TILE_ROWS - 1, TILE_ROWS, TILE_ROWS + 1),
    (1, LANES - 1, LANES, LANES + 1, PANEL, PANEL + 1),
    (1, TILE_COLUMNS - 1, TILE_COLUMNS, TILE_COLUMNS + 1),
)
IN_PANELS = itertools.product(
    (LANES - 1, LANES, LANES + 1, PANEL, PANEL + 1),
    (1, LANES, PANEL + 1),
    (1, LANES - 1, LANES + 1),
)
IN_BLOCKS = (
    (3, 3, MOST_COLUMNS + 1),
    (2, BLOCK_BYTES // 4, 5),
    (5, BLOCK_BYTES // 4 + 1, 2),
    (2, 3, dense_backward.BLOCK_TERMS + 1),
    (dense_backward.BLOCK_TERMS + 1, 3, 2),
    (BLOCK_ROWS + 1, PANEL + 1, BLOCK_ROWS + 1),
    (GROUP, 2, dense_panels.MOST_COLUMNS),
    (GROUP + 1, 2, dense_panels.MOST_COLUMNS + 1),
    (LANES + 3, TASKS * dense_backward.MOST_PANELS * PANEL + 5, 3),
)
IN_PARTS = tuple(
    (N, I, O)
    for N, O in ((LANES, 64), (PANEL + 1, 80), (GROUP + 1, 20))
    for I in (
        dense_panels.BLOCK_TERMS,
        8 * dense_panels.BLOCK_TERMS + 7,
        (TASKS + 3) * dense_panels.BLOCK_TERMS,
    )
)


@pytest.mark.parametrize(("N", "I", "O"), [*IN_A_TILE, *IN_PANELS, *IN_BLOCKS, *IN_PARTS])
def test_linear_at_the_edges_of_tiles_and_blocks(N, I, O):
    x, weight, bias, grad_y = random(0, "float32", (N, I), (O, I), (O,), (N, O))
    got = (
        kernels.linear(x, weight, bias, backend="numba"),
        *kernels.linear_backward(grad_y, x, weight, backend="numba"),
    )
    exact = _products(*(a.astype(np.float64) for a in (x, weight, bias, grad_y)))
    sizes = _products(*(abs(a) for a in (x, weight, bias, grad_y)))
    for part, wanted, size, terms in zip(got, exact, sizes, (I + 1, O, N, N), strict=True):
        assert_within(part, wanted.astype(np.float32), size, terms)


def _products(x, weight, bias, grad_y):
    return x @ weight.T + bias, grad_y @ weight, grad_y.T @ x, grad_y.sum(axis=0)


def test_the_parts_of_a_sum_are_those_meant():
    """Otherwise the cases above say nothing of them."""
    cuts = [dense_panels.cut(*case, LANES) for case in IN_PARTS]
    assert any(cut.parts > 1 for cut in cuts)
    assert any(cut.terms > dense_panels.BLOCK_TERMS for cut in cuts)
