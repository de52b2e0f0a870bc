"""Copying and clearing runs of flat arrays, by vectors.

Slice assignments would do the same, but each adds 0.6 s to the first compilation.
"""

from __future__ import annotations

from kernels.backends.numba.jit import serial
from kernels.backends.numba.vector import lanes, load, load_first, store, store_first, zeros


@serial
def copy(target, to, source, begin, count):
    """``target[to : to + count] = source[begin : begin + count]``."""
    width = lanes(target)
    whole = count - count % width
    for i in range(0, whole, width):
        store(target, to + i, load(source, begin + i))
    if whole < count:
        rest = load_first(source, begin + whole, count - whole)
        store_first(target, to + whole, rest, count - whole)


@serial
def clear(target, begin, count):
    """``target[begin : begin + count] = 0``."""
    width = lanes(target)
    whole = count - count % width
    for i in range(0, whole, width):
        store(target, begin + i, zeros(target))
    store_first(target, begin + whole, zeros(target), count - whole)
