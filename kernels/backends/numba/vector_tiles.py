"""Intrinsics on several vectors at a time, from which a matrix product's tiles are made.

They emit a whole step of a tile: loops over tuples, written in jitted code, are not always
unrolled by LLVM, and an accumulator that is not in a register costs a load and a store per term.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import (
    VectorType,
    emit_load,
    emit_load_first,
    emit_multiply_add,
    emit_pointer,
    emit_prefetch,
    emit_store_first,
    emit_vector_pointer,
    lane_order,
    vector_of,
)


@intrinsic(prefer_literal=True)
def load_rows(typing: Any, array: Any, start: Any, step: Any, last: Any, count: Any) -> Any:
    """``count`` vectors at ``start``, ``start + step``, …, of which those after ``last`` repeat it.

    ``count`` is a constant. Rows that repeat let a tile serve the edge of a matrix, too.
    """
    vector, number = vector_of(array), count.literal_value

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = []
        for place in _places(builder, arguments[1:4], number):
            pointer = emit_vector_pointer(context, builder, vector, array, arguments[0], place)
            values.append(emit_load(context, builder, vector, pointer))
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(vector, number)(
        array, types.intp, types.intp, types.intp, count
    ), generate


@intrinsic(prefer_literal=True)
def load_rows_first(
    typing: Any, array: Any, start: Any, step: Any, last: Any, valid: Any, count: Any
) -> Any:
    """The same for their first ``valid`` elements, with 0 in the other lanes."""
    vector, number = vector_of(array), count.literal_value
    integer = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointers = (
            emit_pointer(context, builder, array, arguments[0], place)
            for place in _places(builder, arguments[1:4], number)
        )
        values = [emit_load_first(context, builder, vector, p, arguments[4]) for p in pointers]
        return context.make_tuple(builder, signature.return_type, values)

    result = types.UniTuple(vector, number)
    return result(array, integer, integer, integer, integer, count), generate


@intrinsic
def store_each(typing: Any, vectors: Any, array: Any, start: Any, step: Any, valid: Any) -> Any:
    """Store the first ``valid`` lanes of each vector, ``step`` apart from ``start`` on."""
    vector, integer = vector_of(array), types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = arguments[2]
        for value in cgutils.unpack_tuple(builder, arguments[0]):
            pointer = emit_pointer(context, builder, array, arguments[1], place)
            emit_store_first(context, builder, vector, pointer, value, arguments[4])
            place = builder.add(place, arguments[3])
        return context.get_dummy_value()

    return types.void(vectors, array, integer, integer, integer), generate


@intrinsic
def add_products(typing: Any, total: Any, left: Any, right: Any) -> Any:
    """``total[i · len(right) + j] + left[i] · right[j]`` for all i and j: a tile of a product.

    Emitted here and not by loops over tuples, which LLVM does not always unroll.
    """
    vector = total.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        sums, rows, columns = (
            cgutils.unpack_tuple(builder, items, len(kind))
            for items, kind in zip(arguments, (total, left, right), strict=True)
        )
        pairs = [(row, column) for row in rows for column in columns]
        values = [
            emit_multiply_add(context, builder, vector, row, column, one)
            for (row, column), one in zip(pairs, sums, strict=True)
        ]
        return context.make_tuple(builder, total, values)

    return total(total, left, right), generate


@intrinsic(prefer_literal=True)
def add_sums(
    typing: Any,
    array: Any,
    start: Any,
    step: Any,
    rows: Any,
    columns: Any,
    vectors: Any,
    in_row: Any,
) -> Any:
    """Add the sum of each vector's lanes to an element, in rows of ``in_row``, a constant.

    That of ``vectors[i · in_row + j]`` goes to ``array[start + i · step + j]`` if ``i < rows`` and
    ``j < columns``. There is a power of two of vectors. (Taken one by one from a tuple, the sums
    cost a jump each: 15 % of the whole product.)
    """
    number = in_row.literal_value
    row_type = VectorType(array.dtype, number)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_, start, step, rows, columns, items, _ = arguments
        values = cgutils.unpack_tuple(builder, items, len(vectors))
        totals, width = emit_lane_sums(builder, values, vectors.dtype.lanes)
        for i in range(len(vectors) // number):
            total, first = totals[i * number // width], i * number % width
            sums = builder.shuffle_vector(total, total, lane_order(range(first, first + number)))
            index = builder.add(start, builder.mul(step, step.type(i)))
            pointer = emit_pointer(context, builder, array, array_, index)
            inside = builder.icmp_signed(">", rows, rows.type(i))
            valid = builder.select(inside, columns, columns.type(0))
            before = emit_load_first(context, builder, row_type, pointer, valid)
            after = builder.fadd(before, sums)
            emit_store_first(context, builder, row_type, pointer, after, valid)
        return context.get_dummy_value()

    integer = types.intp
    result = types.void(array, integer, integer, integer, integer, vectors, in_row)
    return result, generate


def emit_lane_sums(builder: Any, vectors: list[Any], lanes: int) -> tuple[list[Any], int]:
    """Halve the lanes that belong to one sum, two vectors into one, until each has one lane.

    16 vectors of 16 lanes take 15 additions and 30 shuffles instead of 64 of each.
    """
    width, segment = lanes, lanes
    while segment > 1:
        half = segment // 2
        firsts = [lane for lane in range(2 * width) if lane % segment < half]
        if len(vectors) == 1:
            firsts = firsts[: len(firsts) // 2]
            width //= 2
            pairs = [(vectors[0], vectors[0])]
        else:
            pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        lower, upper = lane_order(firsts), lane_order([lane + half for lane in firsts])
        vectors = [
            builder.fadd(builder.shuffle_vector(*pair, lower), builder.shuffle_vector(*pair, upper))
            for pair in pairs
        ]
        segment = half
    return vectors, width


def _places(builder: Any, rows: Any, count: int) -> list[Any]:
    """Return the index of each row, from start, step and last."""
    start, step, last = rows
    places = []
    for i in range(count):
        number = last.type(i)
        row = builder.select(builder.icmp_signed("<", number, last), number, last)
        places.append(builder.add(start, builder.mul(row, step)))
    return places


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of ``array[index]``, which need not exist."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit_prefetch(builder, emit_pointer(context, builder, array, *arguments))
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
