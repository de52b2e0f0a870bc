"""The intrinsics of ``vector_products`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.vector_plain import lanes, load, load_first, store_first

Tile = tuple[FloatArray, ...]


def repeat_row(array: FloatArray, place: int, count: int, rows: int, vectors: int) -> Tile:
    """Return a tile whose rows are all ``array[place : place + count]``, and zeros behind."""
    width = lanes(array)
    starts = range(0, vectors * width, width)
    return tuple(load_first(array, place + j, min(width, max(0, count - j))) for j in starts) * rows


def rank_k_update(
    tile: Tile,
    rows: int,
    times: int,
    columns: int,
    a: FloatArray,
    a_place: int,
    a_step: int,
    table: Any,
    entry: int,
    b: FloatArray,
    b_place: int,
    b_step: int,
    adjacent: int,
) -> Tile:
    """Return the tile plus columns of A times rows of B, column k to sums of number k % times."""
    size, width = len(tile) // times, len(tile[0])
    items = list(tile)
    places = table[entry : entry + 2 * rows : 2]
    if adjacent:
        places = table[entry] + np.arange(rows)
    for k in range(columns):
        column = a[a_place + k * a_step + places]
        row = b[b_place + k * b_step :][: size // rows * width].reshape(-1, width)
        products = (factor * vector for factor in column for vector in row)
        for i, product in enumerate(products, k % times * size):
            items[i] = items[i] + product
    return tuple(items)


def with_zeros(tile: Tile, times: int) -> Tile:
    """Return a tile that has its sums ``times`` over: what they are, then zeros."""
    return tile + tuple(0 * vector for vector in tile) * (times - 1)


def folded(tile: Tile, times: int) -> Tile:
    """Return the tile of the sums of what one has ``times`` over."""
    while times > 1:
        half, times = len(tile) // 2, times // 2
        tile = tuple(a + b for a, b in zip(tile[:half], tile[half:], strict=True))
    return tile


def lanewise_update(
    tile: Tile,
    rows: int,
    a: FloatArray,
    a_place: int,
    table: Any,
    entry: int,
    b: FloatArray,
    b_place: int,
) -> Tile:
    """Return the tile plus vectors of A times one of B."""
    factor, starts = load(b, b_place), a_place + table[entry : entry + 2 * rows : 2]
    return tuple(total + load(a, at) * factor for total, at in zip(tile, starts, strict=True))


def add_rows_first(
    tile: Tile, rows: int, array: FloatArray, place: int, table: Any, entry: int, valid: int
) -> Tile:
    """Return the tile plus the rows of vectors at ``array[place + table[entry + 2 · i]]``.

    Only the first ``valid`` lanes of each row's last vector are read.
    """
    where = _places(tile, rows, table, entry, valid)
    return tuple(
        vector + load_first(array, place + at, count)
        for vector, (at, count) in zip(tile, where, strict=True)
    )


def store_rows_first(
    tile: Tile, rows: int, array: FloatArray, place: int, table: Any, entry: int, valid: int
) -> None:
    """Store the tile where :func:`add_rows_first` reads."""
    where = _places(tile, rows, table, entry, valid)
    for vector, (at, count) in zip(tile, where, strict=True):
        store_first(array, place + at, vector, count)


def add_rows(tile: Tile, rows: int, array: FloatArray, place: int, table: Any, entry: int) -> Tile:
    """Return the same with the last vectors read whole."""
    return add_rows_first(tile, rows, array, place, table, entry, len(tile[0]))


def store_rows(
    tile: Tile, rows: int, array: FloatArray, place: int, table: Any, entry: int
) -> None:
    """Store the same with the last vectors whole."""
    store_rows_first(tile, rows, array, place, table, entry, len(tile[0]))


def prefetch_rows(
    tile: Tile, rows: int, array: FloatArray, place: int, table: Any, entry: int
) -> None:
    """Do nothing."""


def _places(tile: Tile, rows: int, table: Any, entry: int, valid: int) -> list[tuple[int, int]]:
    """Return for each vector its place in its array, and how many lanes of it count."""
    vectors, width = len(tile) // rows, len(tile[0])
    counts = [*[width] * (vectors - 1), valid]
    return [
        (table[entry + 2 * i] + j * width, counts[j]) for i in range(rows) for j in range(vectors)
    ]
