"""SIMD vectors for loop nests written in Python: a Numba type and a handful of intrinsics.

A vector fills one register of the machine that Numba compiles for: 16 float32 with AVX-512, 8 with
AVX2, 4 elsewhere. Indices count elements of flat arrays, without bounds check or wrap-around.
Under ``NUMBA_DISABLE_JIT=1`` the plain functions below stand in for the intrinsics.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, register_model

from kernels.backends.numba.cpu import FUSED_MULTIPLY_ADD, REGISTER_BYTES


class VectorType(types.Type):  # type: ignore[misc]
    """A register full of floats."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.lanes = REGISTER_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(VectorType)
class VectorModel(PrimitiveModel):  # type: ignore[misc]
    """Held as an LLVM vector."""

    def __init__(self, manager: Any, vector: VectorType) -> None:
        element = ir.FloatType() if vector.dtype.bitwidth == 32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _splat(builder: Any, scalar: Any, count: int) -> Any:
    vector = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(vector, scalar, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(first, vector, zeros)


def _first(builder: Any, count: Any, lanes: int) -> Any:
    """Return a mask of the first ``count`` lanes."""
    numbers = ir.Constant(ir.VectorType(count.type, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, _splat(builder, count, lanes))


def _align(vector: VectorType) -> int:
    return int(vector.dtype.bitwidth // 8)


@intrinsic
def lanes(typing: Any, array: Any) -> Any:
    """Return how many elements of the array fill a vector: a constant in compiled code."""
    count = VectorType(array.dtype).lanes

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(array), generate


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """``array[index : index + lanes]``."""
    vector = VectorType(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments)
        vectors = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
        return builder.load(vectors, align=_align(vector))

    return vector(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + lanes] = vector``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments[:2])
        vectors = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
        builder.store(arguments[2], vectors, align=_align(vector))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def load_first(typing: Any, array: Any, index: Any, count: Any) -> Any:
    """``array[index : index + count]`` in the first lanes, 0 in the others, which are not read."""
    vector = VectorType(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value_type = context.get_value_type(vector)
        pointer = _pointer(context, builder, array, *arguments[:2])
        vectors = builder.bitcast(pointer, value_type.as_pointer())
        mask = _first(builder, arguments[2], vector.lanes)
        name = f"llvm.masked.load.v{vector.lanes}f{vector.dtype.bitwidth}.p0"
        signature_type = ir.FunctionType(
            value_type, [vectors.type, ir.IntType(32), mask.type, value_type]
        )
        function = cgutils.get_or_insert_function(builder.module, signature_type, name)
        zeros = ir.Constant(value_type, None)
        return builder.call(function, [vectors, ir.IntType(32)(_align(vector)), mask, zeros])

    return vector(array, types.intp, types.intp), generate


@intrinsic
def store_first(typing: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    """``array[index : index + count] = vector[:count]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value_type = context.get_value_type(vector)
        pointer = _pointer(context, builder, array, *arguments[:2])
        vectors = builder.bitcast(pointer, value_type.as_pointer())
        mask = _first(builder, arguments[3], vector.lanes)
        name = f"llvm.masked.store.v{vector.lanes}f{vector.dtype.bitwidth}.p0"
        signature_type = ir.FunctionType(
            ir.VoidType(), [value_type, vectors.type, ir.IntType(32), mask.type]
        )
        function = cgutils.get_or_insert_function(builder.module, signature_type, name)
        builder.call(function, [arguments[2], vectors, ir.IntType(32)(_align(vector)), mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def broadcast(typing: Any, array: Any, index: Any) -> Any:
    """``array[index]`` in every lane."""
    vector = VectorType(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalar = builder.load(_pointer(context, builder, array, *arguments))
        return _splat(builder, scalar, vector.lanes)

    return vector(array, types.intp), generate


@intrinsic
def zeros(typing: Any, array: Any) -> Any:
    """0 in every lane of a vector of the array's dtype."""
    vector = VectorType(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), None)

    return vector(array), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """``a + b``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return a(a, b), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a · b + c``, rounded once where the machine can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not FUSED_MULTIPLY_ADD:
            return builder.fadd(builder.fmul(*arguments[:2]), arguments[2])
        value_type = context.get_value_type(a)
        name = f"llvm.fma.v{a.lanes}f{a.dtype.bitwidth}"
        signature_type = ir.FunctionType(value_type, [value_type] * 3)
        function = cgutils.get_or_insert_function(builder.module, signature_type, name)
        return builder.call(function, arguments)

    return a(a, b, c), generate


@intrinsic
def replaced(typing: Any, items: Any, index: Any, value: Any) -> Any:
    """Return a tuple with one item replaced, without bounds check."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stack = cgutils.alloca_once_value(builder, arguments[0])
        place = builder.gep(stack, [ir.IntType(32)(0), arguments[1]], inbounds=True)
        builder.store(arguments[2], place)
        return builder.load(stack)

    return items(items, types.intp, value), generate


@intrinsic(prefer_literal=True)
def repeat(typing: Any, value: Any, count: Any) -> Any:
    """``(value,) * count`` for a constant ``count``."""
    result = types.UniTuple(value, count.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, result, [arguments[0]] * count.literal_value)

    return result(value, count), generate


if numba.config.DISABLE_JIT:
    from kernels.backends.numba.vector_plain import (  # noqa: F811
        add,
        broadcast,
        lanes,
        load,
        load_first,
        multiply_add,
        repeat,
        replaced,
        store,
        store_first,
        zeros,
    )
