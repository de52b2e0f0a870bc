"""Tuples of vectors, such as a tile is, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic(prefer_literal=True)
def repeat(typing: Any, value: Any, count: Any) -> Any:
    """``(value,) * count`` for a constant ``count``."""
    result = types.UniTuple(value, count.literal_value)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, result, [arguments[0]] * count.literal_value)

    return result(value, count), generate


@intrinsic
def replaced(typing: Any, items: Any, index: Any, value: Any) -> Any:
    """Return a tuple with one item replaced, without bounds check."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        stack = cgutils.alloca_once_value(builder, arguments[0])
        place = builder.gep(stack, [ir.IntType(32)(0), arguments[1]], inbounds=True)
        builder.store(arguments[2], place)
        return builder.load(stack)

    return items(items, types.intp, value), generate
