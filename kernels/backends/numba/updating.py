"""An optimiser's update in one pass."""

from __future__ import annotations

import numba

from kernels.backends.contract import FloatArray
from kernels.backends.numba.jit import keep_to, parallel, restore, serial
from kernels.backends.numba.memory import read_only
from kernels.backends.numba.vector import (
    add,
    lanes,
    load,
    load_first,
    multiply,
    splat,
    store,
    store_first,
)

BLOCK_ELEMENTS = 16384


def add_scaled(target: FloatArray, source: FloatArray, factor: float) -> None:
    """Add the multiple; multiplied and added in two roundings, as NumPy does."""
    _add_scaled(target.reshape(-1), read_only(source), target.dtype.type(factor))


@parallel
def _add_scaled(target, source, factor):
    size = len(target)
    blocks = -(-size // BLOCK_ELEMENTS)
    team = keep_to(blocks)
    for block in numba.prange(blocks):
        first = block * BLOCK_ELEMENTS
        _add_block(target, source, factor, first, min(first + BLOCK_ELEMENTS, size))
    restore(team)


@serial
def _add_block(target, source, factor, first, last):
    width = lanes(target)
    whole = last - (last - first) % width
    factors = splat(load_first(source, first, 0), factor)
    for i in range(first, whole, width):
        store(target, i, add(load(target, i), multiply(load(source, i), factors)))
    if whole < last:
        rest = multiply(load_first(source, whole, last - whole), factors)
        rest = add(load_first(target, whole, last - whole), rest)
        store_first(target, whole, rest, last - whole)
