"""Constants, arithmetic and comparisons of vectors, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.cpu import BUNDLE
from kernels.backends.numba.vector_emitting import (
    VectorType,
    emit_multiply_add,
    emit_splat,
    emit_square_root,
    vector_of,
)


@intrinsic
def zeros(typing: Any, array: Any) -> Any:
    """0 in every lane of a vector of the array's dtype."""
    vector = vector_of(array)
    return vector(array), _nothing(vector)


@intrinsic
def zeros_bundle(typing: Any, array: Any) -> Any:
    """0 in every lane of a bundle of the array's dtype."""
    vector = vector_of(array, BUNDLE)
    return vector(array), _nothing(vector)


def _nothing(vector: VectorType) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), None)

    return generate


@intrinsic
def splat(typing: Any, like: Any, scalar: Any) -> Any:
    """``scalar``, a float32, float64 or int32, in as many lanes as ``like`` has."""
    vector = VectorType(scalar, like.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_splat(builder, arguments[1], vector.lanes)

    return vector(like, scalar), generate


@intrinsic
def constant(typing: Any, like: Any, number: Any) -> Any:
    """``number``, rounded to the dtype of the vector ``like``, in each of its lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalar = context.cast(builder, arguments[1], types.float64, like.dtype)
        return emit_splat(builder, scalar, like.lanes)

    return like(like, types.float64), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """``a + b``."""
    return a(a, b), one_instruction("fadd")


@intrinsic
def subtract(typing: Any, a: Any, b: Any) -> Any:
    """``a - b``."""
    return a(a, b), one_instruction("fsub")


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """``a · b``."""
    return a(a, b), one_instruction("fmul")


@intrinsic
def divide(typing: Any, a: Any, b: Any) -> Any:
    """``a / b``."""
    return a(a, b), one_instruction("fdiv")


@intrinsic
def square_root(typing: Any, a: Any) -> Any:
    """The root of ``a``, rounded correctly."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_square_root(context, builder, a, arguments[0])

    return a(a), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a · b + c``, rounded once where the machine can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_multiply_add(context, builder, a, *arguments)

    return a(a, b, c), generate


@intrinsic
def select(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a`` in the lanes where the condition holds, ``b`` in the others."""
    return a(condition, a, b), one_instruction("select")


@intrinsic
def either(typing: Any, a: Any, b: Any) -> Any:
    """Return for each lane whether one of two conditions holds."""
    return a(a, b), one_instruction("or_")


def one_instruction(name: str) -> Any:
    """Return code that passes the arguments to an instruction of LLVM."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return getattr(builder, name)(*arguments)

    return generate


@intrinsic
def everywhere(typing: Any, condition: Any) -> Any:
    """Return whether a condition holds in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(condition.lanes)
        mask = builder.bitcast(arguments[0], bits)
        return builder.icmp_unsigned("==", mask, ir.Constant(bits, -1))

    return types.boolean(condition), generate


@intrinsic
def greater_or_nan(typing: Any, a: Any, b: Any) -> Any:
    """Return for each lane whether ``a > b`` or a is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        greater = builder.fcmp_ordered(">", *arguments)
        return builder.or_(greater, builder.fcmp_unordered("uno", arguments[0], arguments[0]))

    return VectorType(types.boolean, a.lanes)(a, b), generate


@intrinsic
def at_least(typing: Any, a: Any, floor: Any) -> Any:
    """``a``, or ``floor`` in the lanes where a is below it; NaN stays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        below = builder.fcmp_ordered(">", arguments[1], arguments[0])
        return builder.select(below, arguments[1], arguments[0])

    return a(a, floor), generate
