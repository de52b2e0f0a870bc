"""An optimiser's update in one pass."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.memory import flat_parameter
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add,
    at_address,
    lanes,
    load,
    load_first,
    multiply,
    splat,
    store,
    store_first,
    zeros,
)

BLOCK_ELEMENTS = 16384

TARGET, SOURCE, FACTOR, SIZE = range(4)


def add_scaled(target: FloatArray, source: FloatArray, factor: float) -> None:
    """Add the multiple; multiplied and added in two roundings, as NumPy does."""
    blocks = -(-target.size // BLOCK_ELEMENTS)
    factors = np.array([factor], target.dtype)
    entries = target.reshape(-1), flat_parameter(source), factors, target.size
    run([Phase(ADD_SCALED, blocks, blocks)], entries, factors)


def _add_block(work, call, block):
    target, source = at_address(work, call[TARGET]), at_address(work, call[SOURCE])
    factors = splat(zeros(work), at_address(work, call[FACTOR])[0])
    first, width = block * BLOCK_ELEMENTS, lanes(work)
    last = min(first + BLOCK_ELEMENTS, call[SIZE])
    whole = last - (last - first) % width
    for i in range(first, whole, width):
        store(target, i, add(load(target, i), multiply(load(source, i), factors)))
    if whole < last:
        rest = multiply(load_first(source, whole, last - whole), factors)
        rest = add(load_first(target, whole, last - whole), rest)
        store_first(target, whole, rest, last - whole)


ADD_SCALED = Task(_add_block)
