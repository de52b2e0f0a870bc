"""Tiles that products are summed up in, as Numba intrinsics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import (
    VectorType,
    emit_load,
    emit_mask,
    emit_multiply_add,
    emit_pointer,
    emit_prefetch,
    emit_splat,
    emit_store,
    emit_vector_pointer,
    vector_of,
)


@intrinsic(prefer_literal=True)
def repeat_row(typing: Any, array: Any, place: Any, count: Any, rows: Any, vectors: Any) -> Any:
    """Return a tile whose rows are all ``array[place : place + count]``, and zeros behind."""
    vector, width = vector_of(array), vectors.literal_value
    tile = types.UniTuple(vector, rows.literal_value * width)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = emit_vector_pointer(context, builder, vector, array, *arguments[:2])
        row = []
        for j in range(width):
            left = builder.sub(arguments[2], arguments[2].type(j * vector.lanes))
            mask = emit_mask(builder, left, vector.lanes)
            at = builder.gep(start, [ir.IntType(64)(j)])
            row.append(emit_load(context, builder, vector, at, mask))
        return context.make_tuple(builder, tile, row * rows.literal_value)

    return tile(array, types.intp, types.intp, rows, vectors), generate


def row_place(builder: Any, start: Any, i: int) -> Any:
    """Emit the load of the place of a tile's row i from every second entry of a table.

    As an atomic load, by the same instruction: so LLVM leaves it where it is needed. Ahead of the
    loop it loaded the places of 14 rows into fewer registers, and spilled them, for each segment:
    69 GFLOP/s instead of 110 with segments of 3 terms.
    """
    entry = builder.gep(start, [ir.IntType(64)(2 * i)])
    return builder.load_atomic(entry, "monotonic", 8)


def _emit_scalar(context: Any, builder: Any, vector: VectorType, pointer: Any) -> Any:
    return emit_splat(builder, builder.load(pointer), vector.lanes)


def _emit_vector(context: Any, builder: Any, vector: VectorType, pointer: Any) -> Any:
    pointer = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
    return emit_load(context, builder, vector, pointer)


def _make_update(emit_factor: Callable[..., Any]) -> Any:
    """Make the code that adds to each row of a tile factors, from A, times rows of B.

    ``columns`` says how many: to each row one factor after the other. Written out in full for each
    tile: left to LLVM, a loop over 14 rows of 2 vectors was not unrolled and spilled.
    """

    def code(tile: Any, rows: Any, a: Any, table: Any, b: Any, columns: int = 1) -> Any:
        vector = tile.dtype
        vectors = len(tile) // rows.literal_value

        def emit_row(context: Any, builder: Any, b_value: Any, first: Any) -> list[Any]:
            start = emit_vector_pointer(context, builder, vector, b, b_value, first)
            places = [builder.gep(start, [ir.IntType(64)(j)]) for j in range(vectors)]
            return [emit_load(context, builder, vector, place) for place in places]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, _, a_value, *of_a = arguments[: 3 + columns]
            table_value, table_first, b_value, *of_b = arguments[3 + columns :]
            items = cgutils.unpack_tuple(builder, sums)
            rows_of_b = [emit_row(context, builder, b_value, first) for first in of_b]
            columns_of_a = [emit_pointer(context, builder, a, a_value, first) for first in of_a]
            places = emit_pointer(context, builder, table, table_value, table_first)
            for i in range(rows.literal_value):
                place = row_place(builder, places, i)
                for column, row in zip(columns_of_a, rows_of_b, strict=True):
                    factor = emit_factor(context, builder, vector, builder.gep(column, [place]))
                    for j in range(vectors):
                        at = i * vectors + j
                        items[at] = emit_multiply_add(
                            context, builder, vector, factor, row[j], items[at]
                        )
            return context.make_tuple(builder, tile, items)

        return generate

    return code


_adding_scalars_times, _adding_vectors_times = (
    _make_update(_emit_scalar),
    _make_update(_emit_vector),
)


@intrinsic(prefer_literal=True)
def rank_one_update(
    typing: Any,
    tile: Any,
    rows: Any,
    a: Any,
    a_place: Any,
    table: Any,
    entry: Any,
    b: Any,
    b_place: Any,
) -> Any:
    """Add a column of A times a row of B to a tile, a tuple of ``rows`` rows of vectors.

    ``tile[i, j] += a[a_place + table[entry + 2 · i]] · b[b_place + j · lanes :][:lanes]``.
    """
    result = tile(tile, rows, a, a_place, table, entry, b, b_place)
    return result, _adding_scalars_times(tile, rows, a, table, b)


@intrinsic(prefer_literal=True)
def rank_two_update(
    typing: Any,
    tile: Any,
    rows: Any,
    a: Any,
    a_place: Any,
    a_next: Any,
    table: Any,
    entry: Any,
    b: Any,
    b_place: Any,
    b_next: Any,
) -> Any:
    """Add two columns of A, one after the other, times two rows of B to a tile.

    Each as :func:`rank_one_update` does, but a row's place is looked up once.
    """
    result = tile(tile, rows, a, a_place, a_next, table, entry, b, b_place, b_next)
    return result, _adding_scalars_times(tile, rows, a, table, b, columns=2)


@intrinsic(prefer_literal=True)
def lanewise_update(
    typing: Any,
    tile: Any,
    rows: Any,
    a: Any,
    a_place: Any,
    table: Any,
    entry: Any,
    b: Any,
    b_place: Any,
) -> Any:
    """Add vectors of A times one of B to a tile, a tuple of ``rows`` vectors.

    ``tile[i] += a[a_place + table[entry + 2 · i] :][:lanes] · b[b_place :][:lanes]``.
    """
    result = tile(tile, rows, a, a_place, table, entry, b, b_place)
    return result, _adding_vectors_times(tile, rows, a, table, b)


def _make_tile_access(store: bool, masked: bool) -> Any:
    """Make the code of the functions that move a tile's rows from or to memory."""

    def code(tile: Any, rows: Any, array: Any, table: Any) -> Any:
        vector = tile.dtype
        vectors = len(tile) // rows.literal_value

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, _, value, first, table_value, table_first = arguments[:6]
            mask = emit_mask(builder, arguments[6], vector.lanes) if masked else None
            items = cgutils.unpack_tuple(builder, sums)
            start = emit_pointer(context, builder, array, value, first)
            places = emit_pointer(context, builder, table, table_value, table_first)
            for i in range(rows.literal_value):
                row = builder.gep(start, [row_place(builder, places, i)])
                row = builder.bitcast(row, context.get_value_type(vector).as_pointer())
                for j in range(vectors):
                    place = builder.gep(row, [ir.IntType(64)(j)])
                    last = mask if j == vectors - 1 else None
                    at = i * vectors + j
                    if store:
                        emit_store(builder, vector, items[at], place, last)
                    else:
                        loaded = emit_load(context, builder, vector, place, last)
                        items[at] = builder.fadd(items[at], loaded)
            return context.get_dummy_value() if store else context.make_tuple(builder, tile, items)

        return generate

    return code


_adding, _adding_first = _make_tile_access(False, False), _make_tile_access(False, True)
_storing, _storing_first = _make_tile_access(True, False), _make_tile_access(True, True)


@intrinsic(prefer_literal=True)
def add_rows(
    typing: Any, tile: Any, rows: Any, array: Any, place: Any, table: Any, entry: Any
) -> Any:
    """Return the tile plus the rows of vectors at ``array[place + table[entry + 2 · i]]``."""
    result = tile(tile, rows, array, place, table, entry)
    return result, _adding(tile, rows, array, table)


@intrinsic(prefer_literal=True)
def add_rows_first(
    typing: Any, tile: Any, rows: Any, array: Any, place: Any, table: Any, entry: Any, valid: Any
) -> Any:
    """Do as ``add_rows``, but read only the first ``valid`` lanes of each row's last vector."""
    result = tile(tile, rows, array, place, table, entry, valid)
    return result, _adding_first(tile, rows, array, table)


@intrinsic(prefer_literal=True)
def store_rows(
    typing: Any, tile: Any, rows: Any, array: Any, place: Any, table: Any, entry: Any
) -> Any:
    """Store the tile's rows of vectors at ``array[place + table[entry + 2 · i]]``."""
    result = types.void(tile, rows, array, place, table, entry)
    return result, _storing(tile, rows, array, table)


@intrinsic(prefer_literal=True)
def store_rows_first(
    typing: Any, tile: Any, rows: Any, array: Any, place: Any, table: Any, entry: Any, valid: Any
) -> Any:
    """Do as ``store_rows``, but write only the first ``valid`` lanes of each row's last vector."""
    result = types.void(tile, rows, array, place, table, entry, valid)
    return result, _storing_first(tile, rows, array, table)


@intrinsic(prefer_literal=True)
def prefetch_rows(
    typing: Any, tile: Any, rows: Any, array: Any, place: Any, table: Any, entry: Any
) -> Any:
    """Ask for the cache lines that ``store_rows`` will write."""
    vector = tile.dtype
    vectors = len(tile) // rows.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = emit_pointer(context, builder, array, *arguments[2:4])
        places = emit_pointer(context, builder, table, *arguments[4:6])
        for i in range(rows.literal_value):
            row = builder.gep(start, [row_place(builder, places, i)])
            row = builder.bitcast(row, context.get_value_type(vector).as_pointer())
            for j in range(vectors):
                emit_prefetch(builder, builder.gep(row, [ir.IntType(64)(j)]), to_write=True)
        return context.get_dummy_value()

    return types.void(tile, rows, array, place, table, entry), generate
