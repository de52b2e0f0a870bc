"""The intrinsics of ``vector_pairs`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.vector_plain import load

Tile = tuple[FloatArray, ...]


def term_pair_update(
    tile: Tile,
    rows: int,
    a: FloatArray,
    a_place: int,
    table: Any,
    entry: int,
    b: FloatArray,
    b_place: int,
    b_step: int,
) -> Tile:
    """Return the tile plus two columns of A times two rows of B."""
    starts = a_place + table[entry : entry + 2 * rows : 2]
    return _add_products(tile, a, starts, (load(b, b_place), load(b, b_place + b_step)))


def row_pair_update(
    tile: Tile,
    rows: int,
    columns: int,
    a: FloatArray,
    a_place: int,
    a_step: int,
    table: Any,
    entry: int,
    b: FloatArray,
    b_place: int,
    b_step: int,
) -> Tile:
    """Return the tile plus columns of A, of twice as many rows, times rows of B."""
    size, starts, items = 2 * rows, a_place + table[entry : entry + 4 * rows : 4], list(tile)
    for k in range(columns):
        row, first = load(b, b_place + k * b_step), k * size % len(tile)
        part = slice(first, first + size)
        items[part] = _add_products(items[part], a, starts + k * a_step, interleaved(row, row))
    return tuple(items)


def _add_products(tile: Sequence[FloatArray], a: FloatArray, starts: Any, pairs: Tile) -> Tile:
    factors = (np.tile(a[start : start + 2], len(tile[0]) // 2) for start in starts)
    products = (factor * vector for factor in factors for vector in pairs)
    return tuple(total + product for total, product in zip(tile, products, strict=True))


def interleaved(one: FloatArray, other: FloatArray) -> Tile:
    """Return the two vectors of a pair of each lane's element and the other vector's."""
    blocks = np.stack((one, other), axis=-1).reshape(-1, 2, 16 // one.itemsize)
    return tuple(blocks.transpose(1, 0, 2).reshape(2, -1))


def taken_apart(tile: Tile) -> Tile:
    """Return the vectors that each two of a tile's were interleaved of."""
    block = 16 // tile[0].itemsize
    pairs = (np.stack(tile[i : i + 2]) for i in range(0, len(tile), 2))
    blocks = (pair.reshape(2, -1, block).transpose(1, 0, 2).reshape(-1, 2) for pair in pairs)
    return tuple(one for both in blocks for one in both.T)


def add_pairs(total: Tile, tile: Tile) -> Tile:
    """Return the vectors plus what even and odd terms have summed up to."""
    apart = taken_apart(tile)
    halves = zip(total, apart[::2], apart[1::2], strict=True)
    return tuple(one + (even + odd) for one, even, odd in halves)
