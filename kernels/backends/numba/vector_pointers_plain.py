"""The intrinsics of ``vector_pointers`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray


def pointer(array: FloatArray, index: int) -> FloatArray:
    """Return the array from an index on."""
    return array[index:]


def address(array: Any) -> Any:
    """Return the array itself."""
    return array


def at_address(like: FloatArray, array: Any) -> Any:
    """Return the array itself."""
    return array


def tap_matches(like: FloatArray, positions: Any, index: int, tap: int, count: int) -> Any:
    """Return for each of the first ``count`` lanes whether the byte ``positions[index]`` is tap."""
    found = np.full(len(like), 255, np.uint8)
    found[:count] = positions[index : index + count]
    return found == tap
