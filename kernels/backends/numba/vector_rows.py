"""Intrinsics for rows that do not fill their last vector, and for exponentials of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import (
    VectorType,
    emit_load_first,
    emit_mask,
    emit_multiply_add,
    emit_pointer,
    lane_order,
    vector_of,
)
from kernels.backends.numba.vector_tiles import emit_lane_sums


@intrinsic
def load_or_lowest(typing: Any, array: Any, index: Any, count: Any) -> Any:
    """``array[index : index + count]`` in the first lanes, minus infinity in the others."""
    vector = vector_of(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = emit_pointer(context, builder, array, *arguments[:2])
        loaded = emit_load_first(context, builder, vector, pointer, arguments[2])
        lowest = _constant(context, vector, -math.inf)
        return builder.select(emit_mask(builder, arguments[2], vector.lanes), loaded, lowest)

    return vector(array, types.intp, types.intp), generate


@intrinsic
def largest_lane(typing: Any, vector: Any) -> Any:
    """The largest lane, NaN if there is one."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        best, count = arguments[0], vector.lanes
        while count > 1:
            count //= 2
            lower = builder.shuffle_vector(best, best, lane_order(range(count)))
            upper = builder.shuffle_vector(best, best, lane_order(range(count, 2 * count)))
            greater = builder.fcmp_ordered(">", lower, upper)
            wins = builder.or_(greater, builder.fcmp_unordered("uno", lower, lower))
            best = builder.select(wins, lower, upper)
        return builder.extract_element(best, ir.IntType(32)(0))

    return vector.dtype(vector), generate


@intrinsic
def sum_lanes(typing: Any, vector: Any) -> Any:
    """The sum of the lanes, taken in halves."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (total,), _ = emit_lane_sums(builder, list(arguments), vector.lanes)
        return builder.extract_element(total, ir.IntType(32)(0))

    return vector.dtype(vector), generate


class _Exponential(NamedTuple):
    """How exp is computed in one dtype: the constants are those of Cephes and of fdlibm."""

    mantissa_bits: int
    bias: int
    lowest: float
    """An argument whose exponential rounds to 0."""
    log_2: tuple[float, float]
    """In two parts: any power of two times the first is exact."""
    terms: int
    """Of Taylor's series: the next one is below half a unit in the last place."""


_EXPONENTIALS = {
    types.float32: _Exponential(23, 127, -104.0, (0.693359375, -2.12194440e-4), 8),
    types.float64: _Exponential(
        52, 1023, -746.0, (6.93147180369123816490e-01, 1.90821492927058770002e-10), 14
    ),
}


@intrinsic
def exponential(typing: Any, vector: Any) -> Any:
    """``exp(x)`` of each lane for x up to 0, to about one unit in the last place.

    ``exp(x) = 2ⁿ · exp(r)`` with ``x = n · log 2 + r`` and ``|r| ≤ log(2) / 2``; exp(r) by Taylor's
    series, 2ⁿ in two factors, for results below the smallest normal number.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        how = _EXPONENTIALS[vector.dtype]

        def constant(value: float) -> Any:
            return _constant(context, vector, value)

        def multiply_add(a: Any, b: Any, c: Any) -> Any:
            return emit_multiply_add(context, builder, vector, a, b, c)

        lowest = constant(how.lowest)
        too_low = builder.fcmp_ordered("<", arguments[0], lowest)  # not true of NaN
        x = builder.select(too_low, lowest, arguments[0])
        # Added to this number, any other is rounded to an integer, in the sum's lowest bits.
        rounder = constant(1.5 * 2.0**how.mantissa_bits)
        rounded = multiply_add(x, constant(1 / math.log(2)), rounder)
        n = builder.fsub(rounded, rounder)
        r = multiply_add(n, constant(-how.log_2[0]), x)
        r = multiply_add(n, constant(-how.log_2[1]), r)
        result = constant(1 / math.factorial(how.terms - 1))
        for k in reversed(range(how.terms - 1)):
            result = multiply_add(result, r, constant(1 / math.factorial(k)))
        for power in _halves(builder, rounded, rounder, vector):
            result = builder.fmul(result, _power_of_two(builder, power, how, result.type))
        return result

    return vector(vector), generate


def _halves(builder: Any, rounded: Any, rounder: Any, vector: VectorType) -> tuple[Any, Any]:
    """Return two integers whose sum is the one in the lowest bits of ``rounded``."""
    integers = ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)
    n = builder.sub(builder.bitcast(rounded, integers), builder.bitcast(rounder, integers))
    half = builder.ashr(n, ir.Constant(integers, [1] * vector.lanes))
    return half, builder.sub(n, half)


def _power_of_two(builder: Any, power: Any, how: _Exponential, result: Any) -> Any:
    count = power.type.count
    biased = builder.add(power, ir.Constant(power.type, [how.bias] * count))
    shifted = builder.shl(biased, ir.Constant(power.type, [how.mantissa_bits] * count))
    return builder.bitcast(shifted, result)


def _constant(context: Any, vector: VectorType, value: float) -> Any:
    return ir.Constant(context.get_value_type(vector), [value] * vector.lanes)
