"""The entries of a convolution's table (see ``tasks``), and how tasks read what they point to.

To Numba an array is seven arguments with a reference count, and these tasks take some twenty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from kernels.backends.numba.plan_tables import BLOCK, PHASE, POOL, ROW_PHASE, SHAPE, TAP

LOAD = 10
"""Entries about what is loaded, from X on. A weight gradient has two such sets."""

X, NORM, NORMED, RELU, PULLED, PULL, PULLS, TAKEN, POOLED, POOLS = range(LOAD)
SHAPES, PHASES, BLOCKS, SEGMENTS, SLOTS, SLOTTED = range(20, 26)
WEIGHTS, START, TARGET, ADDED, ADDS, MASKED, MASK, MASKS, MASK_RELU, MOMENTS = range(26, 36)
PARTIALS, PARTS, PARTIALS_SIZE = range(36, 39)
FILTERS, STEP_SOURCE, STEP_TARGET, FILTERS_SIZE, TAPS, TAP_COUNT, PACKED, POINTS = range(39, 47)
GRAD_FILTERS, SLOT_PIXELS, MERGED, BIAS, BIASES = range(47, 52)
BITS, WORDS, KEPT, IS_PACKED = range(52, 56)
POOLS_BANDS, POOLING, WINNERS, PLACES, PLACED, ORDER, ORDERED, PASSING, ENTRIES = range(56, 65)
"""What the entries of a table hold; the plural says how many elements there are."""

if TYPE_CHECKING or numba.config.DISABLE_JIT:

    def _make_reader(dtype: np.dtype[Any]) -> Any:
        def read(table: Any, index: int) -> Any:
            if not isinstance(table, np.ndarray):  # there is none
                return None
            return table[index] if dtype.names else table.reshape(-1)[index:]

        return read

else:

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
pool_at, row_phase_at, tap_at = _make_reader(POOL), _make_reader(ROW_PHASE), _make_reader(TAP)
integers_at = _make_reader(np.dtype(np.int64))
integers32_at = _make_reader(np.dtype(np.int32))
doubles_at = _make_reader(np.dtype(np.float64))
bytes_at = _make_reader(np.dtype(np.uint8))
