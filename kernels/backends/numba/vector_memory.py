"""Vectors from and to memory, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.cpu import BUNDLE
from kernels.backends.numba.vector_emitting import (
    VectorType,
    emit_load,
    emit_mask,
    emit_pointer,
    emit_splat,
    emit_store,
    emit_vector_pointer,
    vector_of,
)


@intrinsic
def lanes(typing: Any, array: Any) -> Any:
    """Return how many elements of the array fill a vector: a constant in compiled code."""
    return types.intp(array), _counting(vector_of(array))


@intrinsic
def bundle_lanes(typing: Any, array: Any) -> Any:
    """Return how many elements of the array fill a bundle: a constant in compiled code."""
    return types.intp(array), _counting(vector_of(array, BUNDLE))


def _counting(vector: VectorType) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_constant(types.intp, vector.lanes)

    return generate


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """``array[index : index + lanes]``."""
    vector = vector_of(array)
    return vector(array, types.intp), _loading(vector, array)


@intrinsic
def load_bundle(typing: Any, array: Any, index: Any) -> Any:
    """``array[index : index + bundle_lanes]``."""
    vector = vector_of(array, BUNDLE)
    return vector(array, types.intp), _loading(vector, array)


@intrinsic
def load_like(typing: Any, array: Any, index: Any, like: Any) -> Any:
    """As many elements as ``like``, a vector or bundle of the array's dtype, has lanes."""
    return like(array, types.intp, like), _loading(like, array)


def _loading(vector: VectorType, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = emit_vector_pointer(context, builder, vector, array, *arguments[:2])
        return emit_load(context, builder, vector, pointer)

    return generate


@intrinsic
def load_first(typing: Any, array: Any, index: Any, count: Any) -> Any:
    """``array[index : index + count]`` in the first lanes, 0 in the others, which are not read."""
    vector = vector_of(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = emit_vector_pointer(context, builder, vector, array, *arguments[:2])
        mask = emit_mask(builder, arguments[2], vector.lanes)
        return emit_load(context, builder, vector, pointer, mask)

    return vector(array, types.intp, types.intp), generate


@intrinsic
def broadcast(typing: Any, array: Any, index: Any) -> Any:
    """``array[index]`` in every lane."""
    vector = vector_of(array)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        scalar = builder.load(emit_pointer(context, builder, array, *arguments))
        return emit_splat(builder, scalar, vector.lanes)

    return vector(array, types.intp), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """``array[index : index + lanes] = vector``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = emit_vector_pointer(context, builder, vector, array, *arguments[:2])
        emit_store(builder, vector, arguments[2], pointer)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@intrinsic
def store_first(typing: Any, array: Any, index: Any, vector: Any, count: Any) -> Any:
    """``array[index : index + count] = vector[:count]``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = emit_vector_pointer(context, builder, vector, array, *arguments[:2])
        mask = emit_mask(builder, arguments[3], vector.lanes)
        emit_store(builder, vector, arguments[2], pointer, mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector, types.intp), generate
