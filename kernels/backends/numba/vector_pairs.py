"""Vectors of pairs, and tiles of sums of them, as Numba intrinsics.

Two vectors, one interleaved with the other, are two vectors again: a pair's elements lie side by
side. Interleaved is each 16 bytes with the other's, which is one instruction and needs no table.
"""

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
    emit_multiply_add,
    emit_pointer,
    emit_vector_pointer,
    lane_order,
    vector_of,
)
from kernels.backends.numba.vector_products import row_place


@intrinsic(prefer_literal=True)
def term_pair_update(
    typing: Any,
    tile: Any,
    rows: Any,
    a: Any,
    a_place: Any,
    table: Any,
    entry: Any,
    b: Any,
    b_place: Any,
    b_step: Any,
) -> Any:
    """Add two columns of A that lie side by side times two rows of B, interleaved, to a tile.

    To lane l of ``tile[i, j]`` it adds ``a[a_place + table[entry + 2 · i] + l % 2]`` times
    ``b[b_place + j · b_step + l]``: for a pair's even lane what even terms give, for its odd one
    what odd ones do.
    """
    vector = vector_of(a)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, _, a_value, a_first, table_value, table_first, b_value, at, step = arguments
        rows_of_b = (at, builder.add(at, step))
        pair = [_emit_vector(context, builder, vector, b, b_value, place) for place in rows_of_b]
        column = emit_pointer(context, builder, a, a_value, a_first)
        places = emit_pointer(context, builder, table, table_value, table_first)
        return adding(context, builder, sums, [column], [pair], places)

    adding = _adding_pairs(tile, rows, 1)
    return tile(tile, rows, a, a_place, table, entry, b, b_place, b_step), generate


@intrinsic(prefer_literal=True)
def row_pair_update(
    typing: Any,
    tile: Any,
    rows: Any,
    columns: Any,
    a: Any,
    a_place: Any,
    a_step: Any,
    table: Any,
    entry: Any,
    b: Any,
    b_place: Any,
    b_step: Any,
) -> Any:
    """Add columns of A, whose rows lie side by side two by two, times rows of B to a tile.

    It may have its sums several times over: to lane l of ``tile[k % times, i]`` column k adds
    ``a[a_place + k · a_step + table[entry + 4 · i] + l % 2]`` times an element of the vector at
    ``b[b_place + k · b_step]``, interleaved with itself: row 2 · i is in even lanes, the next in
    odd ones.
    """
    vector = vector_of(a)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, _, _, a_value, at, a_by, table_value, table_first, b_value, b_at, b_by = arguments
        factors, pairs = [], []
        for _ in range(columns.literal_value):
            factors.append(emit_pointer(context, builder, a, a_value, at))
            row = _emit_vector(context, builder, vector, b, b_value, b_at)
            pairs.append(_emit_interleaved(builder, vector, row, row))
            at, b_at = builder.add(at, a_by), builder.add(b_at, b_by)
        places = emit_pointer(context, builder, table, table_value, table_first)
        return adding(context, builder, sums, factors, pairs, places)

    adding = _adding_pairs(tile, rows, 2)
    result = tile(tile, rows, columns, a, a_place, a_step, table, entry, b, b_place, b_step)
    return result, generate


def _adding_pairs(tile: Any, rows: Any, together: int) -> Callable[..., Any]:
    """Make what adds pairs of A's columns times two vectors each; a pair has so many rows."""
    vector, size = tile.dtype, 2 * rows.literal_value

    def adding(
        context: Any, builder: Any, sums: Any, columns: list[Any], pairs: list[Any], places: Any
    ) -> Any:
        items = cgutils.unpack_tuple(builder, sums)
        for i in range(0, size, 2):
            place = row_place(builder, places, together * i // 2)
            for k, (column, pair) in enumerate(zip(columns, pairs, strict=True)):
                factors = _emit_pair(context, builder, vector, builder.gep(column, [place]))
                for j, value in enumerate(pair, start=k * size % len(tile) + i):
                    items[j] = emit_multiply_add(context, builder, vector, factors, value, items[j])
        return context.make_tuple(builder, tile, items)

    return adding


def _emit_vector(
    context: Any, builder: Any, vector: VectorType, array: Any, value: Any, index: Any
) -> Any:
    pointer = emit_vector_pointer(context, builder, vector, array, value, index)
    return emit_load(context, builder, vector, pointer)


def _emit_pair(context: Any, builder: Any, vector: VectorType, pointer: Any) -> Any:
    """Emit the load of two elements into all even and all odd lanes."""
    element = context.get_value_type(vector).element
    pair = builder.load(
        builder.bitcast(pointer, ir.VectorType(element, 2).as_pointer()),
        align=vector.dtype.bitwidth // 8,
    )
    return builder.shuffle_vector(pair, pair, lane_order([0, 1] * (vector.lanes // 2)))


@intrinsic
def interleaved(typing: Any, one: Any, other: Any) -> Any:
    """Return the two vectors of a pair of each lane's element and the other vector's."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _emit_interleaved(builder, one, *arguments)
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(one, 2)(one, other), generate


@intrinsic
def taken_apart(typing: Any, tile: Any) -> Any:
    """Return the vectors that each two of a tile's were interleaved of."""
    vector = tile.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        items = cgutils.unpack_tuple(builder, arguments[0])
        pairs = zip(items[::2], items[1::2], strict=True)
        values = [one for pair in pairs for one in _emit_taken_apart(builder, vector, *pair)]
        return context.make_tuple(builder, tile, values)

    return tile(tile), generate


@intrinsic
def add_pairs(typing: Any, total: Any, tile: Any) -> Any:
    """Add what even and odd terms have summed up to in a tile to one of half as many vectors."""
    vector = total.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        items, pairs = (cgutils.unpack_tuple(builder, value) for value in arguments)
        for i, item in enumerate(items):
            even, odd = _emit_taken_apart(builder, vector, *pairs[2 * i : 2 * i + 2])
            items[i] = builder.fadd(item, builder.fadd(even, odd))
        return context.make_tuple(builder, total, items)

    return total(total, tile), generate


def _emit_interleaved(builder: Any, vector: VectorType, one: Any, other: Any) -> list[Any]:
    return _emit_moved(builder, one, other, _interleaving(vector))


def _emit_taken_apart(builder: Any, vector: VectorType, one: Any, other: Any) -> list[Any]:
    order = _interleaving(vector)
    return _emit_moved(builder, one, other, [order.index(lane) for lane in range(len(order))])


def _emit_moved(builder: Any, one: Any, other: Any, order: list[int]) -> list[Any]:
    """Emit two vectors of the lanes of two, in this order."""
    half = len(order) // 2
    return [
        builder.shuffle_vector(one, other, lane_order(lanes))
        for lanes in (order[:half], order[half:])
    ]


def _interleaving(vector: VectorType) -> list[int]:
    """Return which lanes of two vectors, one behind the other, interleaved ones consist of."""
    block = 128 // vector.dtype.bitwidth
    return [
        start + lane + of
        for first in (0, block // 2)
        for start in range(0, vector.lanes, block)
        for lane in range(first, first + block // 2)
        for of in (0, vector.lanes)
    ]
