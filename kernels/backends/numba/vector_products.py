"""Tiles that products are summed up in, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import (
    emit_load,
    emit_mask,
    emit_multiply_add,
    emit_pointer,
    emit_splat,
    emit_store,
    emit_vector_pointer,
)


@intrinsic(prefer_literal=True)
def rank_one_update(
    typing: Any, tile: Any, rows: Any, a: Any, a_place: Any, a_step: Any, b: Any, b_place: Any
) -> Any:
    """Add a column of A times a row of B to a tile, a tuple of ``rows`` rows of vectors.

    ``tile[i, j] += a[a_place + i · a_step] · b[b_place + j · lanes :][:lanes]``. Written out in
    full for each tile: left to LLVM, a loop over 14 rows of 2 vectors was not unrolled and spilled.
    """
    vector = tile.dtype
    vectors = len(tile) // rows.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, _, a_value, a_first, step, b_value, b_first = arguments
        items = cgutils.unpack_tuple(builder, sums)
        b_pointer = emit_vector_pointer(context, builder, vector, b, b_value, b_first)
        row_of_b = [
            emit_load(context, builder, vector, builder.gep(b_pointer, [step.type(j)]))
            for j in range(vectors)
        ]
        a_pointer = emit_pointer(context, builder, a, a_value, a_first)
        for i in range(rows.literal_value):
            place = builder.gep(a_pointer, [builder.mul(step, step.type(i))])
            factor = emit_splat(builder, builder.load(place), vector.lanes)
            for j in range(vectors):
                at = i * vectors + j
                items[at] = emit_multiply_add(
                    context, builder, vector, factor, row_of_b[j], items[at]
                )
        return context.make_tuple(builder, tile, items)

    return tile(tile, rows, a, a_place, a_step, b, b_place), generate


def _make_tile_access(store: bool, masked: bool) -> Any:
    """Make the code of the functions that move a tile's rows from or to memory."""

    def code(tile: Any, rows: Any, array: Any) -> Any:
        vector = tile.dtype
        vectors = len(tile) // rows.literal_value

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            sums, _, value, first, step = arguments[:5]
            mask = emit_mask(builder, arguments[5], vector.lanes) if masked else None
            items = cgutils.unpack_tuple(builder, sums)
            start = emit_pointer(context, builder, array, value, first)
            for i in range(rows.literal_value):
                row = builder.gep(start, [builder.mul(step, step.type(i))])
                row = builder.bitcast(row, context.get_value_type(vector).as_pointer())
                for j in range(vectors):
                    place = builder.gep(row, [step.type(j)])
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
def add_rows(typing: Any, tile: Any, rows: Any, array: Any, place: Any, step: Any) -> Any:
    """Return the tile plus the rows of vectors at ``array[place + i · step]``."""
    return tile(tile, rows, array, place, step), _adding(tile, rows, array)


@intrinsic(prefer_literal=True)
def add_rows_first(
    typing: Any, tile: Any, rows: Any, array: Any, place: Any, step: Any, valid: Any
) -> Any:
    """Do as ``add_rows``, but read only the first ``valid`` lanes of each row's last vector."""
    return tile(tile, rows, array, place, step, valid), _adding_first(tile, rows, array)


@intrinsic(prefer_literal=True)
def store_rows(typing: Any, tile: Any, rows: Any, array: Any, place: Any, step: Any) -> Any:
    """Store the tile's rows of vectors at ``array[place + i · step]``."""
    return types.void(tile, rows, array, place, step), _storing(tile, rows, array)


@intrinsic(prefer_literal=True)
def store_rows_first(
    typing: Any, tile: Any, rows: Any, array: Any, place: Any, step: Any, valid: Any
) -> Any:
    """Do as ``store_rows``, but write only the first ``valid`` lanes of each row's last vector."""
    return types.void(tile, rows, array, place, step, valid), _storing_first(tile, rows, array)
