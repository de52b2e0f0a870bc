"""A call of a loop nest as one table of addresses and numbers.

A task takes some twenty arrays. As a function that is compiled on its own it takes the table
instead: to Numba each array would be seven arguments with a reference count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.plan_tables import BLOCK, PHASE, POOL, SHAPE

LOAD = 10
"""Entries about what is loaded, from X on. A weight gradient has two such sets."""

X, NORM, NORMED, RELU, PULLED, PULL, PULLS, TAKEN, POOLED, POOLS = range(LOAD)
SHAPES, PHASES, BLOCKS, SEGMENTS, SLOTS, SLOTTED = range(20, 26)
WEIGHTS, START, TARGET, ADDED, ADDS, MASKED, MASK, MASKS, MASK_RELU, MOMENTS = range(26, 36)
PARTIALS, PARTS, ENTRIES = range(36, 39)
"""What the entries of a table hold; the plural says how many elements there are."""

if TYPE_CHECKING or numba.config.DISABLE_JIT:

    def new_call() -> Any:
        """Return an empty table."""
        return np.empty(ENTRIES, object)

    def _make_reader(dtype: np.dtype[Any]) -> Any:
        def read(table: Any, index: int) -> Any:
            return table[index] if dtype.names else table[index:]

        return read

else:

    @numba.njit
    def new_call():
        """Return an empty table."""
        return np.empty(ENTRIES, np.int64)

    def _make_reader(dtype):
        element = numba.from_dtype(dtype)
        result = element if dtype.names else types.CPointer(element)

        @intrinsic
        def read(typing, number, index):
            def generate(context, builder, signature, arguments):
                offset = builder.mul(arguments[1], ir.IntType(64)(dtype.itemsize))
                place = builder.add(arguments[0], offset)
                return builder.inttoptr(place, context.get_value_type(result))

            return result(types.intp, types.intp), generate

        return read


shape_at, phase_at, block_at = _make_reader(SHAPE), _make_reader(PHASE), _make_reader(BLOCK)
pool_at = _make_reader(POOL)
integers_at = _make_reader(np.dtype(np.int64))
doubles_at = _make_reader(np.dtype(np.float64))
bytes_at = _make_reader(np.dtype(np.uint8))
