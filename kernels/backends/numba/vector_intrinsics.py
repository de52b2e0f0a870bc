"""The vector operations of ``vector`` as Numba intrinsics: each becomes an LLVM instruction."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, register_model

from kernels.backends.numba.cpu import BUNDLE, FUSED_MULTIPLY_ADD, REGISTER_BYTES


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


def _full(array: Any, registers: int = 1) -> VectorType:
    """Return the type of a register full of the array's floats, or of several."""
    return VectorType(array.dtype, registers * REGISTER_BYTES * 8 // array.dtype.bitwidth)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Return the address of an element of an array, or of what a pointer points to."""
    if isinstance(array_type, types.Array):
        array = context.make_array(array_type)(context, builder, array).data
    return builder.gep(array, [index])


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


def _vector_pointer(
    context: Any, builder: Any, vector: VectorType, array_type: Any, array: Any, index: Any
) -> Any:
    pointer = _pointer(context, builder, array_type, array, index)
    return builder.bitcast(pointer, context.get_value_type(vector).as_pointer())


def _load_at(builder: Any, vector: VectorType, pointer: Any, number: int) -> Any:
    return builder.load(builder.gep(pointer, [ir.IntType(64)(number)]), align=_align(vector))


def _load(context: Any, builder: Any, vector: VectorType, pointer: Any, mask: Any) -> Any:
    """Load a vector; the lanes that a mask leaves out are 0 and not read."""
    if mask is None:
        return builder.load(pointer, align=_align(vector))
    value_type = context.get_value_type(vector)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(value_type, [pointer.type, ir.IntType(32), mask.type, value_type]),
        f"llvm.masked.load.{_suffix(vector)}.p0",
    )
    align, nothing = ir.IntType(32)(_align(vector)), ir.Constant(value_type, None)
    return builder.call(function, [pointer, align, mask, nothing])


def _store(
    context: Any, builder: Any, vector: VectorType, value: Any, pointer: Any, mask: Any
) -> None:
    """Store a vector, but for the lanes that a mask leaves out."""
    if mask is None:
        builder.store(value, pointer, align=_align(vector))
        return
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [value.type, pointer.type, ir.IntType(32), mask.type]),
        f"llvm.masked.store.{_suffix(vector)}.p0",
    )
    builder.call(function, [value, pointer, ir.IntType(32)(_align(vector)), mask])


def emit_load_first(
    context: Any, builder: Any, vector: VectorType, pointer: Any, count: Any
) -> Any:
    """Emit the load of ``count`` elements, and zeros in the other lanes."""
    vectors = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
    return _load(context, builder, vector, vectors, _first(builder, count, vector.lanes))


def emit_store_first(
    context: Any, builder: Any, vector: VectorType, pointer: Any, value: Any, count: Any
) -> None:
    """Emit the store of the first ``count`` lanes."""
    vectors = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
    _store(context, builder, vector, value, vectors, _first(builder, count, vector.lanes))


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
        f"llvm.fma.{_suffix(vector)}",
    )
    return builder.call(function, [a, b, c])


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
        pointer = _vector_pointer(context, builder, vector, array, *arguments)
        return _load(context, builder, vector, pointer, None)

    return vector(array, types.intp), generate


@intrinsic
def bundle_lanes(typing: Any, array: Any) -> Any:
    """Return how many elements of the array fill a bundle: a constant in compiled code."""
    count = _full(array, BUNDLE).lanes

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(array), generate


@intrinsic
def load_bundle(typing: Any, array: Any, index: Any) -> Any:
    """``array[index : index + bundle_lanes]``."""
    vector = _full(array, BUNDLE)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments)
        vectors = builder.bitcast(pointer, context.get_value_type(vector).as_pointer())
        return builder.load(vectors, align=_align(vector))

    return vector(array, types.intp), generate


@intrinsic
def load_like(typing: Any, array: Any, index: Any, like: Any) -> Any:
    """As many elements as ``like``, a vector or bundle of the array's dtype, has lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments[:2])
        vectors = builder.bitcast(pointer, context.get_value_type(like).as_pointer())
        return builder.load(vectors, align=_align(like))

    return like(array, types.intp, like), generate


@intrinsic
def zeros_bundle(typing: Any, array: Any) -> Any:
    """0 in every lane of a bundle of the array's dtype."""
    vector = _full(array, BUNDLE)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(vector), None)

    return vector(array), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + lanes] = vector``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _vector_pointer(context, builder, vector, array, *arguments[:2])
        _store(context, builder, vector, arguments[2], pointer, None)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def load_first(typing: Any, array: Any, index: Any, count: Any) -> Any:
    """``array[index : index + count]`` in the first lanes, 0 in the others, which are not read."""
    vector = _full(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _vector_pointer(context, builder, vector, array, *arguments[:2])
        mask = _first(builder, arguments[2], vector.lanes)
        return _load(context, builder, vector, pointer, mask)

    return vector(array, types.intp, types.intp), generate


@intrinsic
def store_first(typing: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    """``array[index : index + count] = vector[:count]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _vector_pointer(context, builder, vector, array, *arguments[:2])
        mask = _first(builder, arguments[3], vector.lanes)
        _store(context, builder, vector, arguments[2], pointer, mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


@intrinsic
def load_integers(typing: Any, array: Any, index: Any, like: Any) -> Any:
    """As many of the array's integers as ``like`` has lanes, widened to int32."""
    vector = VectorType(types.int32, like.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = ir.VectorType(ir.IntType(array.dtype.bitwidth), like.lanes)
        pointer = _pointer(context, builder, array, *arguments[:2])
        loaded = builder.load(builder.bitcast(pointer, narrow.as_pointer()), align=1)
        return _resized(builder, loaded, array.dtype, context.get_value_type(vector))

    return vector(array, types.intp, like), generate


@intrinsic
def load_first_integers(typing: Any, array: Any, index: Any, like: Any, count: Any) -> Any:
    """``array[index : index + count]`` as int32 in the first lanes, 0 in the others."""
    vector = VectorType(types.int32, like.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = ir.VectorType(ir.IntType(array.dtype.bitwidth), like.lanes)
        pointer = _pointer(context, builder, array, *arguments[:2])
        vectors = builder.bitcast(pointer, narrow.as_pointer())
        mask = _first(builder, arguments[3], like.lanes)
        name = f"llvm.masked.load.v{like.lanes}i{array.dtype.bitwidth}.p0"
        signature_type = ir.FunctionType(narrow, [vectors.type, ir.IntType(32), mask.type, narrow])
        function = cgutils.get_or_insert_function(builder.module, signature_type, name)
        zeros = ir.Constant(narrow, None)
        loaded = builder.call(function, [vectors, ir.IntType(32)(1), mask, zeros])
        return _resized(builder, loaded, array.dtype, context.get_value_type(vector))

    return vector(array, types.intp, like, types.intp), generate


@intrinsic
def store_integers(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + lanes] = vector``, an int32 vector, in the array's dtype."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = ir.VectorType(ir.IntType(array.dtype.bitwidth), vector.lanes)
        pointer = _pointer(context, builder, array, *arguments[:2])
        resized = _resized(builder, arguments[2], array.dtype, narrow)
        builder.store(resized, builder.bitcast(pointer, narrow.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def store_first_integers(typing: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    """``array[index : index + count] = vector[:count]``, int32 lanes in the array's dtype."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = ir.VectorType(ir.IntType(array.dtype.bitwidth), vector.lanes)
        pointer = _pointer(context, builder, array, *arguments[:2])
        vectors = builder.bitcast(pointer, narrow.as_pointer())
        resized = _resized(builder, arguments[2], array.dtype, narrow)
        mask = _first(builder, arguments[3], vector.lanes)
        name = f"llvm.masked.store.v{vector.lanes}i{array.dtype.bitwidth}.p0"
        signature_type = ir.FunctionType(
            ir.VoidType(), [narrow, vectors.type, ir.IntType(32), mask.type]
        )
        function = cgutils.get_or_insert_function(builder.module, signature_type, name)
        builder.call(function, [resized, vectors, ir.IntType(32)(1), mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate


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

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.add(*arguments)

    return a(a, b), generate


@intrinsic
def equal(typing: Any, a: Any, b: Any) -> Any:
    """Return for each lane whether two integers are equal."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.icmp_signed("==", *arguments)

    return VectorType(types.boolean, a.lanes)(a, b), generate


@intrinsic
def either(typing: Any, a: Any, b: Any) -> Any:
    """Return for each lane whether one of two conditions holds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.or_(*arguments)

    return a(a, b), generate


@intrinsic
def everywhere(typing: Any, condition: Any) -> Any:
    """Return whether a condition holds in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = ir.IntType(condition.lanes)
        mask = builder.bitcast(arguments[0], bits)
        return builder.icmp_unsigned("==", mask, ir.Constant(bits, -1))

    return types.boolean(condition), generate


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
def constant(typing: Any, like: Any, number: Any) -> Any:
    """``number``, rounded to the dtype of the vector ``like``, in each of its lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalar = context.cast(builder, arguments[1], types.float64, like.dtype)
        return _splat(builder, scalar, like.lanes)

    return like(like, types.float64), generate


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
def at_least(typing: Any, a: Any, floor: Any) -> Any:
    """``a``, or ``floor`` in the lanes where a is below it; NaN stays."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        below = builder.fcmp_ordered(">", arguments[1], arguments[0])
        return builder.select(below, arguments[1], arguments[0])

    return a(a, floor), generate


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
        return emit_multiply_add(context, builder, a, *arguments)

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


@intrinsic
def turn_square(
    typing: Any, source: Any, at: Any, step: Any, target: Any, to: Any, target_step: Any
) -> Any:
    """``target[to + i·target_step + j] = source[at + j·step + i]`` for i and j below ``lanes``."""
    vector = _full(source)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_source, start, stride, of_target, to_start, to_stride = arguments
        pointer_type = context.get_value_type(vector).as_pointer()

        def row(array_type: Any, array: Any, first: Any, distance: Any, number: int) -> Any:
            index = builder.add(first, builder.mul(distance, distance.type(number)))
            place = _pointer(context, builder, array_type, array, index)
            return builder.bitcast(place, pointer_type)

        rows = [
            builder.load(row(source, of_source, start, stride, i), align=_align(vector))
            for i in range(vector.lanes)
        ]
        for i, value in enumerate(_transposed(builder, rows)):
            builder.store(
                value, row(target, of_target, to_start, to_stride, i), align=_align(vector)
            )
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
                mask = ir.Constant(ir.VectorType(ir.IntType(32), count), lanes_of_pair)
                rows[at] = builder.shuffle_vector(*pair, mask)
        step *= 2
    return rows
