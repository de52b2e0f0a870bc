"""Pointers, which the vector functions take for arrays, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import (
    VectorType,
    emit_mask,
    emit_masked_load,
    emit_pointer,
    emit_splat,
)


@intrinsic
def pointer(typing: Any, array: Any, index: Any) -> Any:
    """Return a pointer to ``array[index]``, which the functions here take for an array.

    It keeps nothing alive. To a function it is one argument where an array is seven, and it has no
    reference count: in the micro-kernel these cost as much as a third of a small product.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_pointer(context, builder, array, *arguments)

    return types.CPointer(array.dtype)(array, types.intp), generate


@intrinsic
def address(typing: Any, array: Any) -> Any:
    """Return where an array's elements begin, as a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = emit_pointer(context, builder, array, arguments[0], ir.IntType(64)(0))
        return builder.ptrtoint(data, ir.IntType(64))

    return types.intp(array), generate


@intrinsic
def at_address(typing: Any, like: Any, number: Any) -> Any:
    """Return a pointer to elements of the dtype of ``like`` that begin at an address."""
    result = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[1], context.get_value_type(result))

    return result(like, types.intp), generate


@intrinsic
def tap_matches(typing: Any, like: Any, positions: Any, index: Any, tap: Any, count: Any) -> Any:
    """Return for each of the first ``count`` lanes whether the byte ``positions[index]`` is tap."""
    result = VectorType(types.boolean, like.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, value, place, wanted, valid = arguments
        wide = ir.VectorType(ir.IntType(8), like.lanes)
        pointer = builder.bitcast(
            emit_pointer(context, builder, positions, value, place), wide.as_pointer()
        )
        mask = emit_mask(builder, valid, like.lanes)
        found = emit_masked_load(builder, pointer, mask, ir.Constant(wide, [255] * like.lanes), 1)
        sought = emit_splat(builder, builder.trunc(wanted, ir.IntType(8)), like.lanes)
        return builder.icmp_unsigned("==", found, sought)

    return result(like, positions, types.intp, types.intp, types.intp), generate
