"""The vector type that Numba is told of, and what its intrinsics emit: the parts they share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.extending import register_model

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


def vector_of(array: Any, registers: int = 1) -> VectorType:
    """Return the type of a register full of the array's floats, or of several."""
    return VectorType(array.dtype, registers * REGISTER_BYTES * 8 // array.dtype.bitwidth)


def emit_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Emit the address of an element of an array, or of what a pointer points to."""
    if isinstance(array_type, types.Array):
        array = context.make_array(array_type)(context, builder, array).data
    return builder.gep(array, [index])


def emit_vector_pointer(
    context: Any, builder: Any, vector: VectorType, array_type: Any, array: Any, index: Any
) -> Any:
    """Emit the address of the vector that begins with that element."""
    pointer = emit_pointer(context, builder, array_type, array, index)
    return builder.bitcast(pointer, context.get_value_type(vector).as_pointer())


def emit_splat(builder: Any, scalar: Any, count: int) -> Any:
    """Emit a vector of ``count`` lanes that all hold a scalar."""
    vector = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(vector, scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(first, vector, lane_order([0] * count))


def emit_mask(builder: Any, count: Any, lanes: int) -> Any:
    """Emit a mask of the first ``count`` lanes."""
    numbers = ir.Constant(ir.VectorType(count.type, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, emit_splat(builder, count, lanes))


def lane_order(lanes: Iterable[int]) -> Any:
    """Return which lanes of two vectors a shuffle takes, as LLVM wants them."""
    numbers = list(lanes)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


def alignment(vector: VectorType) -> int:
    """Return the bytes that a vector in memory is aligned to: those of an element."""
    return int(vector.dtype.bitwidth // 8)


def emit_load(
    context: Any, builder: Any, vector: VectorType, pointer: Any, mask: Any = None
) -> Any:
    """Emit the load of a vector; the lanes that a mask leaves out are 0 and not read."""
    if mask is None:
        return builder.load(pointer, align=alignment(vector))
    zeros = ir.Constant(context.get_value_type(vector), None)
    return emit_masked_load(builder, pointer, mask, zeros, alignment(vector))


def emit_store(
    builder: Any, vector: VectorType, value: Any, pointer: Any, mask: Any = None
) -> None:
    """Emit the store of a vector, but for the lanes that a mask leaves out."""
    if mask is None:
        builder.store(value, pointer, align=alignment(vector))
    else:
        emit_masked_store(builder, value, pointer, mask, alignment(vector))


def emit_load_first(
    context: Any, builder: Any, vector: VectorType, pointer: Any, count: Any
) -> Any:
    """Emit the load of ``count`` elements, and zeros in the other lanes."""
    vectors = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
    return emit_load(context, builder, vector, vectors, emit_mask(builder, count, vector.lanes))


def emit_store_first(
    context: Any, builder: Any, vector: VectorType, pointer: Any, value: Any, count: Any
) -> None:
    """Emit the store of the first ``count`` lanes."""
    vectors = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
    emit_store(builder, vector, value, vectors, emit_mask(builder, count, vector.lanes))


def emit_prefetch(builder: Any, pointer: Any, *, to_write: bool = False) -> None:
    """Emit a request for a cache line, which need not exist."""
    i32 = ir.IntType(32)
    place = builder.bitcast(pointer, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [place.type, i32, i32, i32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [place, i32(int(to_write)), i32(3), i32(1)])  # all caches, data


def emit_masked_load(builder: Any, pointer: Any, mask: Any, otherwise: Any, align: int) -> Any:
    """Emit the load of those lanes that a mask has, with other values in the rest."""
    i32, wanted = ir.IntType(32), otherwise.type
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(wanted, [pointer.type, i32, mask.type, wanted]),
        f"llvm.masked.load.{_suffix(wanted)}.p0",
    )
    return builder.call(function, [pointer, i32(align), mask, otherwise])


def emit_masked_store(builder: Any, value: Any, pointer: Any, mask: Any, align: int) -> None:
    """Emit the store of those lanes that a mask has."""
    i32 = ir.IntType(32)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [value.type, pointer.type, i32, mask.type]),
        f"llvm.masked.store.{_suffix(value.type)}.p0",
    )
    builder.call(function, [value, pointer, i32(align), mask])


def emit_multiply_add(
    context: Any, builder: Any, vector: VectorType, a: Any, b: Any, c: Any
) -> Any:
    """Emit ``a · b + c``."""
    if not FUSED_MULTIPLY_ADD:
        return builder.fadd(builder.fmul(a, b), c)
    value_type = context.get_value_type(vector)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(value_type, [value_type] * 3),
        f"llvm.fma.{_suffix(value_type)}",
    )
    return builder.call(function, [a, b, c])


def emit_square_root(context: Any, builder: Any, vector: VectorType, a: Any) -> Any:
    """Emit the root of ``a``."""
    value_type = context.get_value_type(vector)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(value_type, [value_type]),
        f"llvm.sqrt.{_suffix(value_type)}",
    )
    return builder.call(function, [a])


def _suffix(vector: Any) -> str:
    """Return how the names of LLVM's functions end for a type of vectors."""
    return f"v{vector.count}{vector.element.intrinsic_name}"
