"""A square of elements turned over, as a Numba intrinsic."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import (
    emit_load,
    emit_store,
    emit_vector_pointer,
    lane_order,
    vector_of,
)


@intrinsic
def turn_square(
    typing: Any, source: Any, at: Any, step: Any, target: Any, to: Any, target_step: Any
) -> Any:
    """``target[to + i·target_step + j] = source[at + j·step + i]`` for i and j below ``lanes``."""
    vector = vector_of(source)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_source, start, stride, of_target, to_start, to_stride = arguments

        def row(array_type: Any, array: Any, first: Any, distance: Any, number: int) -> Any:
            index = builder.add(first, builder.mul(distance, distance.type(number)))
            return emit_vector_pointer(context, builder, vector, array_type, array, index)

        rows = [
            emit_load(context, builder, vector, row(source, of_source, start, stride, i))
            for i in range(vector.lanes)
        ]
        for i, value in enumerate(_transposed(builder, rows)):
            emit_store(builder, vector, value, row(target, of_target, to_start, to_stride, i))
        return context.get_dummy_value()

    index = types.intp
    return types.void(source, index, index, target, index, index), generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Turn a square of vectors over, swapping larger and larger blocks across the diagonal."""
    count, step = len(rows), 1
    while step < count:
        low = [count + lane - step if lane & step else lane for lane in range(count)]
        high = [count + lane if lane & step else lane + step for lane in range(count)]
        for i in (i for i in range(count) if not i & step):
            pair = rows[i], rows[i + step]
            for at, lanes_of_pair in ((i, low), (i + step, high)):
                rows[at] = builder.shuffle_vector(*pair, lane_order(lanes_of_pair))
        step *= 2
    return rows
