"""The intrinsics of ``vector_products`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from typing import Any

from kernels.backends.contract import FloatArray
from kernels.backends.numba.vector_plain import lanes, load_first, store_first


def repeat_row(
    array: FloatArray, place: int, count: int, rows: int, vectors: int
) -> tuple[Any, ...]:
    """Return a tile whose rows are all ``array[place : place + count]``, and zeros behind."""
    width = lanes(array)
    starts = range(0, vectors * width, width)
    return tuple(load_first(array, place + j, min(width, max(0, count - j))) for j in starts) * rows


def rank_one_update(
    tile: tuple[Any, ...],
    rows: int,
    a: FloatArray,
    a_place: int,
    table: Any,
    entry: int,
    b: FloatArray,
    b_place: int,
) -> tuple[Any, ...]:
    """Return the tile plus a column of A times a row of B."""
    vectors, width = len(tile) // rows, len(tile[0])
    column = a[a_place + table[entry : entry + 2 * rows : 2]]
    row = b[b_place : b_place + vectors * width].reshape(vectors, width)
    return tuple(tile[i * vectors + j] + column[i] * row[j] for i, j in _places(tile, rows))


def add_rows(
    tile: tuple[Any, ...], rows: int, array: FloatArray, place: int, table: Any, entry: int
) -> tuple[Any, ...]:
    """Return the tile plus the rows of vectors at ``array[place + table[entry + 2 · i]]``."""
    return add_rows_first(tile, rows, array, place, table, entry, len(tile[0]))


def add_rows_first(
    tile: tuple[Any, ...],
    rows: int,
    array: FloatArray,
    place: int,
    table: Any,
    entry: int,
    valid: int,
) -> tuple[Any, ...]:
    """Do as ``add_rows``, but read only the first ``valid`` lanes of each row's last vector."""
    vectors, width = len(tile) // rows, len(tile[0])
    return tuple(
        tile[i * vectors + j]
        + load_first(
            array,
            place + table[entry + 2 * i] + j * width,
            valid if j == vectors - 1 else width,
        )
        for i, j in _places(tile, rows)
    )


def store_rows(
    tile: tuple[Any, ...], rows: int, array: FloatArray, place: int, table: Any, entry: int
) -> None:
    """Store the tile's rows of vectors at ``array[place + table[entry + 2 · i]]``."""
    store_rows_first(tile, rows, array, place, table, entry, len(tile[0]))


def store_rows_first(
    tile: tuple[Any, ...],
    rows: int,
    array: FloatArray,
    place: int,
    table: Any,
    entry: int,
    valid: int,
) -> None:
    """Do as ``store_rows``, but write only the first ``valid`` lanes of each row's last vector."""
    vectors, width = len(tile) // rows, len(tile[0])
    for i, j in _places(tile, rows):
        count = valid if j == vectors - 1 else width
        at = place + table[entry + 2 * i] + j * width
        store_first(array, at, tile[i * vectors + j], count)


def prefetch_rows(
    tile: tuple[Any, ...], rows: int, array: FloatArray, place: int, table: Any, entry: int
) -> None:
    """Do nothing."""


def _places(tile: tuple[Any, ...], rows: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(rows) for j in range(len(tile) // rows)]
