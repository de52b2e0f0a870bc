"""The intrinsics of ``vector_products`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from typing import Any

from kernels.backends.contract import FloatArray
from kernels.backends.numba.vector_plain import lanes, load, load_first, store_first

Tile = tuple[FloatArray, ...]


def repeat_row(array: FloatArray, place: int, count: int, rows: int, vectors: int) -> Tile:
    """Return a tile whose rows are all ``array[place : place + count]``, and zeros behind."""
    width = lanes(array)
    starts = range(0, vectors * width, width)
    return tuple(load_first(array, place + j, min(width, max(0, count - j))) for j in starts) * rows


def rank_one_update(
    tile: Tile,
    rows: int,
    a: FloatArray,
    a_place: int,
    table: Any,
    entry: int,
    b: FloatArray,
    b_place: int,
) -> Tile:
    """Return the tile plus a column of A times a row of B."""
    vectors, width = len(tile) // rows, len(tile[0])
    column = a[a_place + table[entry : entry + 2 * rows : 2]]
    row = b[b_place : b_place + vectors * width].reshape(vectors, width)
    products = (factor * vector for factor in column for vector in row)
    return tuple(total + product for total, product in zip(tile, products, strict=True))


def rank_two_update(
    tile: Tile,
    rows: int,
    a: FloatArray,
    a_place: int,
    a_next: int,
    table: Any,
    entry: int,
    b: FloatArray,
    b_place: int,
    b_next: int,
) -> Tile:
    """Return the tile plus two columns of A times two rows of B."""
    tile = rank_one_update(tile, rows, a, a_place, table, entry, b, b_place)
    return rank_one_update(tile, rows, a, a_next, table, entry, b, b_next)


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
