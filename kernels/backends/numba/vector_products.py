"""Tiles that products are summed up in, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import (
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


@intrinsic(prefer_literal=True)
def rank_k_update(
    typing: Any,
    tile: Any,
    rows: Any,
    times: Any,
    columns: Any,
    a: Any,
    a_place: Any,
    a_step: Any,
    table: Any,
    entry: Any,
    b: Any,
    b_place: Any,
    b_step: Any,
    adjacent: Any,
) -> Any:
    """Add some columns of A times as many rows of B to a tile that has its sums ``times`` over.

    A tile is a tuple of ``rows`` rows of vectors. To ``tile[k % times, i, j]`` column k adds
    ``a[a_place + k · a_step + table[entry + 2 · i]]`` times
    ``b[b_place + k · b_step + j · lanes :][:lanes]``. A row's place is looked up once; of
    ``adjacent`` it is the first one's, which the others follow.
    """
    vector, height, copies = tile.dtype, rows.literal_value, times.literal_value
    vectors = len(tile) // (height * copies)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, _, _, _, a_value, at, a_by, table_value, first, b_value, b_at, b_by, _ = arguments
        columns_of_a, vectors_of_b = [], []
        places = emit_pointer(context, builder, table, table_value, first)
        if adjacent.literal_value:
            at = builder.add(at, builder.load(places))
        for _ in range(columns.literal_value):
            columns_of_a.append(emit_pointer(context, builder, a, a_value, at))
            start = emit_vector_pointer(context, builder, vector, b, b_value, b_at)
            row = [builder.gep(start, [ir.IntType(64)(j)]) for j in range(vectors)]
            vectors_of_b.append([emit_load(context, builder, vector, place) for place in row])
            at, b_at = builder.add(at, a_by), builder.add(b_at, b_by)
        items = cgutils.unpack_tuple(builder, sums)
        # Written out in full for each tile: left to LLVM, a loop over 14 rows of 2 vectors was not
        # unrolled and spilled.
        for i in range(height):
            place = ir.IntType(64)(i)
            if not adjacent.literal_value:
                place = row_place(builder, places, i)
            for k, (column, values) in enumerate(zip(columns_of_a, vectors_of_b, strict=True)):
                scalar = builder.load(builder.gep(column, [place]))
                factor = emit_splat(builder, scalar, vector.lanes)
                for j, value in enumerate(values, (k % copies * height + i) * vectors):
                    items[j] = emit_multiply_add(context, builder, vector, factor, value, items[j])
        return context.make_tuple(builder, tile, items)

    operands = a, a_place, a_step, table, entry, b, b_place, b_step
    return tile(tile, rows, times, columns, *operands, adjacent), generate


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
    vector = tile.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, _, a_value, a_first, table_value, table_first, b_value, b_first = arguments
        by = emit_vector_pointer(context, builder, vector, b, b_value, b_first)
        value = emit_load(context, builder, vector, by)
        column = emit_pointer(context, builder, a, a_value, a_first)
        places = emit_pointer(context, builder, table, table_value, table_first)
        items = cgutils.unpack_tuple(builder, sums)
        for i in range(rows.literal_value):
            at = builder.gep(column, [row_place(builder, places, i)])
            at = builder.bitcast(at, context.get_value_type(vector).as_pointer())
            factor = emit_load(context, builder, vector, at)
            items[i] = emit_multiply_add(context, builder, vector, factor, value, items[i])
        return context.make_tuple(builder, tile, items)

    return tile(tile, rows, a, a_place, table, entry, b, b_place), generate


@intrinsic(prefer_literal=True)
def with_zeros(typing: Any, tile: Any, times: Any) -> Any:
    """Return a tile that has its sums ``times`` over: what they are, then zeros."""
    wide = types.UniTuple(tile.dtype, len(tile) * times.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        items = cgutils.unpack_tuple(builder, arguments[0])
        none = ir.Constant(items[0].type, None)
        more = [none] * (len(wide) - len(items))
        return context.make_tuple(builder, wide, [*items, *more])

    return wide(tile, times), generate


@intrinsic(prefer_literal=True)
def folded(typing: Any, tile: Any, times: Any) -> Any:
    """Return the tile of the sums of what one has ``times`` over."""
    narrow = types.UniTuple(tile.dtype, len(tile) // times.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        items = cgutils.unpack_tuple(builder, arguments[0])
        while len(items) > len(narrow):
            half = len(items) // 2
            pairs = zip(items[:half], items[half:], strict=True)
            items = [builder.fadd(one, other) for one, other in pairs]
        return context.make_tuple(builder, narrow, items)

    return narrow(tile, times), generate


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
