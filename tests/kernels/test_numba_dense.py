"""Linear layers of the Numba backend at the edges of their tiles and blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import kernels
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.dense import MOST_COLUMNS, MOST_ROWS
from kernels.backends.numba.dense_backward import BLOCK_TERMS, COPIED, TASKS
from kernels.backends.numba.dense_kernel import BLOCK_BYTES, TILE_COLUMNS, TILE_ROWS
from tests.kernels.comparing import assert_within, random

LANES = REGISTER_BYTES // 4
TILE_WIDTH = TILE_COLUMNS * LANES

# Just below, at and above each limit of a tile, then of a block.
IN_A_TILE = itertools.product(
    (1, TILE_ROWS - 1, TILE_ROWS, TILE_ROWS + 1),
    (1, LANES - 1, LANES, LANES + 1, TILE_WIDTH, TILE_WIDTH + 1),
    (1, TILE_COLUMNS - 1, TILE_COLUMNS, TILE_COLUMNS + 1),
)
IN_BLOCKS = (
    (MOST_ROWS + 1, 3, MOST_COLUMNS + 1),
    (2, BLOCK_BYTES // 4, 5),
    (5, BLOCK_BYTES // 4 + 1, 2),
    (2, 3, BLOCK_TERMS + 1),
    (BLOCK_TERMS + 1, 3, 2),
)
WIDE = TASKS * TILE_WIDTH - 1
COPIES = (
    (COPIED, WIDE, COPIED),
    (COPIED + 1, WIDE, COPIED + 3),
    (COPIED - 1, WIDE, COPIED),
    (COPIED, WIDE, BLOCK_TERMS + 1),
)


@pytest.mark.parametrize(("N", "I", "O"), [*IN_A_TILE, *IN_BLOCKS, *COPIES])
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
