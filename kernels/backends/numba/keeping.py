"""Packed weights are kept from one replay to the next, as long as the weights stay the same.

To compare 16 x 32 filters of 3x3 with what they were takes 0.5 µs, to pack and transform them 5;
besides, what a core has packed anew, the others have to fetch from its cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.calls import BITS, IS_PACKED, KEPT, WORDS, integers32_at, integers_at
from kernels.backends.numba.jit import serial
from kernels.backends.numba.vector import equal, everywhere, lanes, load_integers, zeros
from kernels.capturing import active

MOST_BYTES = 2 * 2**20
"""Of packed weights that are kept: larger ones take little of the time."""


def keeps(nbytes: int) -> bool:
    """Tell whether a call's packed weights of so many bytes are to be kept."""
    capture = active()
    return capture is not None and capture.steady and nbytes <= MOST_BYTES


def kept_entries(weights: FloatArray, tasks: int) -> tuple[Any, ...]:
    """Return the entries from BITS to IS_PACKED: nothing has been packed yet."""
    bits = weights.view(np.int32)
    return bits, bits.size // weights.size, np.empty_like(bits), np.zeros(tasks, np.int64)


@serial
def is_packed(work, call, task, first, count):
    """Tell whether this task packed just these weights before; otherwise it is about to."""
    if call[WORDS] == 0:  # they are not kept
        return False
    bits, kept = integers32_at(call[BITS], 0), integers32_at(call[KEPT], 0)
    done = integers_at(call[IS_PACKED], 0)
    begin, end = first * call[WORDS], (first + count) * call[WORDS]
    if done[task] > 0 and _are_equal(bits, kept, begin, end, zeros(work), lanes(work)):
        return True
    for i in range(begin, end):
        kept[i] = bits[i]
    done[task] = 1
    return False


@serial
def _are_equal(a, b, begin, end, like, width):
    """Compare integers, as many as ``like`` has lanes at a time."""
    i = begin
    while i + width <= end:
        if not everywhere(equal(load_integers(a, i, like), load_integers(b, i, like))):
            return False
        i += width
    while i < end:
        if a[i] != b[i]:
            return False
        i += 1
    return True
