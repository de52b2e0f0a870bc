"""The intrinsics of ``vector_tiles`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from kernels.backends.contract import FloatArray
from kernels.backends.numba.vector_plain import (
    load,
    load_first,
    multiply_add,
    store_first,
)

Vectors = tuple[FloatArray, ...]


def load_rows(array: FloatArray, start: int, step: int, last: int, count: int) -> Vectors:
    """Return vectors at ``start``, ``start + step``, …, of which those after ``last`` repeat it."""
    return tuple(load(array, start + min(i, last) * step) for i in range(count))


def load_rows_first(
    array: FloatArray, start: int, step: int, last: int, valid: int, count: int
) -> Vectors:
    """Return the same of their first ``valid`` elements, with 0 in the other lanes."""
    return tuple(load_first(array, start + min(i, last) * step, valid) for i in range(count))


def store_each(vectors: Vectors, array: FloatArray, start: int, step: int, valid: int) -> None:
    """Store the first ``valid`` lanes of each vector, ``step`` apart from ``start`` on."""
    for i, vector in enumerate(vectors):
        store_first(array, start + i * step, vector, valid)


def add_products(total: Vectors, left: Vectors, right: Vectors) -> Vectors:
    """Return ``total[i · len(right) + j] + left[i] · right[j]`` for all i and j."""
    pairs = ((row, column) for row in left for column in right)
    return tuple(multiply_add(*pair, one) for pair, one in zip(pairs, total, strict=True))


def add_sums(
    array: FloatArray,
    start: int,
    step: int,
    rows: int,
    columns: int,
    vectors: Vectors,
    in_row: int,
) -> None:
    """Add the sum of ``vectors[i · in_row + j]`` to ``array[start + i · step + j]``.

    Only where ``i < rows`` and ``j < columns``.
    """
    for number, vector in enumerate(vectors):
        i, j = divmod(number, in_row)
        if i < rows and j < columns:
            array[start + i * step + j] += vector.sum()


def prefetch(array: FloatArray, index: int) -> None:
    """Do nothing: it only saves time."""
