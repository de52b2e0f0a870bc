"""Vectors of int32, and of the narrower integers that they are in memory, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.vector_arithmetic import one_instruction
from kernels.backends.numba.vector_emitting import (
    VectorType,
    emit_mask,
    emit_masked_load,
    emit_masked_store,
    emit_pointer,
)


@intrinsic
def load_integers(typing: Any, array: Any, index: Any, like: Any) -> Any:
    """As many of the array's integers as ``like`` has lanes, widened to int32."""
    vector = VectorType(types.int32, like.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, pointer = _in_memory(context, builder, like.lanes, array, *arguments[:2])
        loaded = builder.load(pointer, align=1)
        return _resized(builder, loaded, array.dtype, context.get_value_type(vector))

    return vector(array, types.intp, like), generate


@intrinsic
def load_first_integers(typing: Any, array: Any, index: Any, like: Any, count: Any) -> Any:
    """``array[index : index + count]`` as int32 in the first lanes, 0 in the others."""
    vector = VectorType(types.int32, like.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow, pointer = _in_memory(context, builder, like.lanes, array, *arguments[:2])
        mask = emit_mask(builder, arguments[3], like.lanes)
        loaded = emit_masked_load(builder, pointer, mask, ir.Constant(narrow, None), 1)
        return _resized(builder, loaded, array.dtype, context.get_value_type(vector))

    return vector(array, types.intp, like, types.intp), generate


@intrinsic
def store_integers(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + lanes] = vector``, an int32 vector, in the array's dtype."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow, pointer = _in_memory(context, builder, vector.lanes, array, *arguments[:2])
        builder.store(_resized(builder, arguments[2], array.dtype, narrow), pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def store_first_integers(typing: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    """``array[index : index + count] = vector[:count]``, int32 lanes in the array's dtype."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow, pointer = _in_memory(context, builder, vector.lanes, array, *arguments[:2])
        resized = _resized(builder, arguments[2], array.dtype, narrow)
        mask = emit_mask(builder, arguments[3], vector.lanes)
        emit_masked_store(builder, resized, pointer, mask, 1)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


def _in_memory(
    context: Any, builder: Any, lanes: int, array_type: Any, array: Any, index: Any
) -> tuple[Any, Any]:
    """Return a vector of the array's integers: its type, and its address."""
    narrow = ir.VectorType(ir.IntType(array_type.dtype.bitwidth), lanes)
    pointer = emit_pointer(context, builder, array_type, array, index)
    return narrow, builder.bitcast(pointer, narrow.as_pointer())


def _resized(builder: Any, value: Any, dtype: types.Integer, wanted: Any) -> Any:
    """Return integers of ``dtype``, or on their way to it, as those of another width."""
    have, want = value.type.element.width, wanted.element.width
    if have == want:
        return value
    if have > want:
        return builder.trunc(value, wanted)
    return builder.sext(value, wanted) if dtype.signed else builder.zext(value, wanted)


@intrinsic
def add_integers(typing: Any, a: Any, b: Any) -> Any:
    """``a + b`` of integers."""
    return a(a, b), one_instruction("add")


@intrinsic
def equal(typing: Any, a: Any, b: Any) -> Any:
    """Return for each lane whether two integers are equal."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.icmp_signed("==", *arguments)

    return VectorType(types.boolean, a.lanes)(a, b), generate
