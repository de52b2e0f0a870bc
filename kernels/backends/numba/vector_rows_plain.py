"""The intrinsics of ``vector_rows`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.vector_plain import lanes


def load_or_lowest(array: FloatArray, index: int, count: int) -> FloatArray:
    """Return ``array[index : index + count]``, then minus infinity."""
    vector = np.full(lanes(array), -np.inf, array.dtype)
    vector[:count] = array[index : index + count]
    return vector


def largest_lane(vector: FloatArray) -> Any:
    """Return the largest lane, NaN if there is one."""
    return vector.max()


def sum_lanes(vector: FloatArray) -> Any:
    """Return the sum of the lanes."""
    return vector.sum()


def exponential(vector: FloatArray) -> FloatArray:
    """Return ``exp(x)`` of each lane for x up to 0."""
    return np.exp(vector)
