"""The intrinsics of ``vector`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.cpu import REGISTER_BYTES


def lanes(array: FloatArray) -> int:
    """Return how many elements of the array fill a vector."""
    return REGISTER_BYTES // array.itemsize


def load(array: FloatArray, index: int) -> FloatArray:
    """Return ``array[index : index + lanes]``."""
    return load_first(array, index, lanes(array))


def store(array: FloatArray, index: int, vector: FloatArray) -> None:
    """``array[index : index + lanes] = vector``."""
    store_first(array, index, vector, len(vector))


def load_first(array: FloatArray, index: int, count: int) -> FloatArray:
    """Return ``array[index : index + count]``, then zeros."""
    vector = zeros(array)
    vector[:count] = array[index : index + count]
    return vector


def store_first(array: FloatArray, index: int, vector: FloatArray, count: int) -> None:
    """``array[index : index + count] = vector[:count]``."""
    array[index : index + count] = vector[:count]


def prefetch(array: FloatArray, index: int) -> None:
    """Do nothing: how fast memory comes in is the processor's affair here."""


def broadcast(array: FloatArray, index: int) -> FloatArray:
    """Return ``array[index]`` in every lane."""
    return np.full(lanes(array), array[index])


def zeros(array: FloatArray) -> FloatArray:
    """Return 0 in every lane of a vector of the array's dtype."""
    return np.zeros(lanes(array), array.dtype)


def splat(like: FloatArray, scalar: Any) -> Any:
    """Return ``scalar`` in as many lanes as ``like`` has."""
    return np.full(len(like), scalar)


def add(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a + b``."""
    return a + b


def subtract(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a - b``."""
    return a - b


def multiply(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a · b``."""
    return a * b


def multiply_add(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Return ``a · b + c``."""
    return a * b + c


def greater_or_nan(a: FloatArray, b: FloatArray) -> Any:
    """Return for each lane whether ``a > b`` or a is NaN."""
    return (a > b) | np.isnan(a)


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return ``a`` in the lanes where the condition holds, ``b`` in the others."""
    return np.where(condition, a, b)


def replaced(items: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    """Return a tuple with one item replaced."""
    return (*items[:index], value, *items[index + 1 :])


def repeat(value: Any, count: int) -> tuple[Any, ...]:
    """Return ``(value,) * count``."""
    return (value,) * count
