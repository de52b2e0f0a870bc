"""The vector operations of ``vector`` as Numba intrinsics: each becomes an LLVM instruction."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, register_model

from kernels.backends.numba.cpu import FUSED_MULTIPLY_ADD, REGISTER_BYTES


class VectorType(types.Type):
    """A register full of floats, or as many integers or truth values as it has floats."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


@register_model(VectorType)
class VectorModel(PrimitiveModel):
    """Held as an LLVM vector."""

    def __init__(self, manager: Any, vector: VectorType) -> None:
        super().__init__(manager, vector, ir.VectorType(_ELEMENTS[vector.dtype], vector.lanes))


_ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.boolean: ir.IntType(1),
}


def _full(array: Any) -> VectorType:
    """Return the type of a register full of the array's floats."""
    return VectorType(array.dtype, REGISTER_BYTES * 8 // array.dtype.bitwidth)


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


def _suffix(vector: VectorType) -> str:
    kind = "i" if vector.dtype == types.int32 else "f"
    return f"v{vector.lanes}{kind}{vector.dtype.bitwidth}"


@intrinsic
def lanes(typing: Any, array: Any) -> Any:
    """Return how many elements of the array fill a vector: a constant in compiled code."""
    count = _full(array).lanes

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(array), generate


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """``array[index : index + lanes]``."""
    vector = _full(array)

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
    vector = _full(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value_type = context.get_value_type(vector)
        pointer = _pointer(context, builder, array, *arguments[:2])
        vectors = builder.bitcast(pointer, value_type.as_pointer())
        mask = _first(builder, arguments[2], vector.lanes)
        name = f"llvm.masked.load.{_suffix(vector)}.p0"
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
        name = f"llvm.masked.store.{_suffix(vector)}.p0"
        signature_type = ir.FunctionType(
            ir.VoidType(), [value_type, vectors.type, ir.IntType(32), mask.type]
        )
        function = cgutils.get_or_insert_function(builder.module, signature_type, name)
        builder.call(function, [arguments[2], vectors, ir.IntType(32)(_align(vector)), mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Have the cache line of ``array[index]``, which may lie outside, come in to be read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = builder.bitcast(
            _pointer(context, builder, array, *arguments), ir.IntType(8).as_pointer()
        )
        numbers = [ir.IntType(32)] * 3
        signature_type = ir.FunctionType(ir.VoidType(), [byte.type, *numbers])
        function = cgutils.get_or_insert_function(
            builder.module, signature_type, "llvm.prefetch.p0"
        )
        read, into_all_levels, data = (ir.IntType(32)(number) for number in (0, 3, 1))
        builder.call(function, [byte, read, into_all_levels, data])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def broadcast(typing: Any, array: Any, index: Any) -> Any:
    """``array[index]`` in every lane."""
    vector = _full(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalar = builder.load(_pointer(context, builder, array, *arguments))
        return _splat(builder, scalar, vector.lanes)

    return vector(array, types.intp), generate


@intrinsic
def zeros(typing: Any, array: Any) -> Any:
    """0 in every lane of a vector of the array's dtype."""
    vector = _full(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), None)

    return vector(array), generate


@intrinsic
def splat(typing: Any, like: Any, scalar: Any) -> Any:
    """``scalar``, a float32, float64 or int32, in as many lanes as ``like`` has."""
    vector = VectorType(scalar, like.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _splat(builder, arguments[1], vector.lanes)

    return vector(like, scalar), generate


@intrinsic
def add(typing: Any, a: Any, b: Any) -> Any:
    """``a + b``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return a(a, b), generate


@intrinsic
def subtract(typing: Any, a: Any, b: Any) -> Any:
    """``a - b``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fsub(*arguments)

    return a(a, b), generate


@intrinsic
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """``a · b``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fmul(*arguments)

    return a(a, b), generate


@intrinsic
def greater_or_nan(typing: Any, a: Any, b: Any) -> Any:
    """Return for each lane whether ``a > b`` or a is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        greater = builder.fcmp_ordered(">", *arguments)
        return builder.or_(greater, builder.fcmp_unordered("uno", arguments[0], arguments[0]))

    return VectorType(types.boolean, a.lanes)(a, b), generate


@intrinsic
def select(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a`` in the lanes where the condition holds, ``b`` in the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return a(condition, a, b), generate


@intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a · b + c``, rounded once where the machine can."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not FUSED_MULTIPLY_ADD:
            return builder.fadd(builder.fmul(*arguments[:2]), arguments[2])
        value_type = context.get_value_type(a)
        name = f"llvm.fma.{_suffix(a)}"
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
