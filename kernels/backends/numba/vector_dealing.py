"""Vectors dealt out to vectors lane by lane, and put together again, as Numba intrinsics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from kernels.backends.numba.vector_emitting import lane_order


@intrinsic
def dealt(typing: Any, vectors: Any) -> Any:
    """Return as many vectors: lane i of the r-th is element i · len(vectors) + r of all lanes."""
    count = len(vectors)

    def source(r: int, i: int, lanes: int) -> int:
        return i * count + r

    return vectors(vectors), _moving(source)


@intrinsic
def gathered(typing: Any, vectors: Any) -> Any:
    """Return what ``dealt`` made these vectors of."""
    count = len(vectors)

    def source(r: int, i: int, lanes: int) -> int:
        element = r * lanes + i
        return element % count * lanes + element // count

    return vectors(vectors), _moving(source)


def _moving(source: Callable[[int, int, int], int]) -> Any:
    """Make the code that takes each lane from element ``source(vector, lane, lanes)`` of all."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = cgutils.unpack_tuple(builder, arguments[0])
        lanes = signature.return_type.dtype.lanes
        whole = _joined(builder, given)
        nothing = ir.Constant(whole.type, ir.Undefined)
        results = [
            builder.shuffle_vector(
                whole, nothing, lane_order(source(r, i, lanes) for i in range(lanes))
            )
            for r in range(len(given))
        ]
        return context.make_tuple(builder, signature.return_type, results)

    return generate


def _joined(builder: Any, vectors: list[Any]) -> Any:
    """Return one vector of the lanes of all, and of undefined ones up to a power of two."""
    while len(vectors) > 1:
        if len(vectors) % 2:
            vectors = [*vectors, ir.Constant(vectors[0].type, ir.Undefined)]
        order = lane_order(range(2 * vectors[0].type.count))
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [builder.shuffle_vector(a, b, order) for a, b in pairs]
    return vectors[0]
