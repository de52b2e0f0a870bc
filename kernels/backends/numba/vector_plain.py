"""The intrinsics of ``vector`` in plain NumPy, for ``NUMBA_DISABLE_JIT=1``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.cpu import BUNDLE, REGISTER_BYTES


def lanes(array: FloatArray) -> int:
    """Return how many elements of the array fill a vector."""
    return REGISTER_BYTES // array.itemsize


def load(array: FloatArray, index: int) -> FloatArray:
    """Return ``array[index : index + lanes]``."""
    return load_first(array, index, lanes(array))


def bundle_lanes(array: FloatArray) -> int:
    """Return how many elements of the array fill a bundle."""
    return BUNDLE * lanes(array)


def load_bundle(array: FloatArray, index: int) -> FloatArray:
    """Return ``array[index : index + bundle_lanes]``."""
    return array[index : index + bundle_lanes(array)].copy()


def load_like(array: FloatArray, index: int, like: FloatArray) -> FloatArray:
    """Return as many elements as ``like`` has lanes."""
    return array[index : index + len(like)].copy()


def zeros_bundle(array: FloatArray) -> FloatArray:
    """Return 0 in every lane of a bundle of the array's dtype."""
    return np.zeros(bundle_lanes(array), array.dtype)


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


def load_integers(array: IntArray, index: int, like: FloatArray) -> Any:
    """Return as many of the array's integers as ``like`` has lanes, as int32."""
    return array[index : index + len(like)].astype(np.int32)


def load_first_integers(array: IntArray, index: int, like: FloatArray, count: int) -> Any:
    """Return ``array[index : index + count]``, then zeros, as int32."""
    vector = np.zeros(len(like), np.int32)
    vector[:count] = array[index : index + count]
    return vector


def store_integers(array: IntArray, index: int, vector: Any) -> None:
    """``array[index : index + lanes] = vector``, in the array's dtype."""
    array[index : index + len(vector)] = vector


def store_first_integers(array: IntArray, index: int, vector: Any, count: int) -> None:
    """``array[index : index + count] = vector[:count]``, in the array's dtype."""
    array[index : index + count] = vector[:count]


def add_integers(a: Any, b: Any) -> Any:
    """Return ``a + b`` of integers."""
    return a + b


def equal(a: Any, b: Any) -> Any:
    """Return for each lane whether two integers are equal."""
    return a == b


def either(a: Any, b: Any) -> Any:
    """Return for each lane whether one of two conditions holds."""
    return a | b


def everywhere(condition: Any) -> bool:
    """Return whether a condition holds in all lanes."""
    return bool(condition.all())


def broadcast(array: FloatArray, index: int) -> FloatArray:
    """Return ``array[index]`` in every lane."""
    return np.full(lanes(array), array[index])


def zeros(array: FloatArray) -> FloatArray:
    """Return 0 in every lane of a vector of the array's dtype."""
    return np.zeros(lanes(array), array.dtype)


def splat(like: FloatArray, scalar: Any) -> Any:
    """Return ``scalar`` in as many lanes as ``like`` has."""
    return np.full(len(like), scalar)


def constant(like: FloatArray, number: float) -> FloatArray:
    """Return ``number`` in the dtype and the lanes of ``like``."""
    return np.full_like(like, number)


def add(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a + b``."""
    return a + b


def subtract(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a - b``."""
    return a - b


def multiply(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a · b``."""
    return a * b


def divide(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return ``a / b``."""
    return a / b


def square_root(a: FloatArray) -> FloatArray:
    """Return the root of ``a``."""
    root: FloatArray = np.sqrt(a)
    return root


def multiply_add(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Return ``a · b + c``."""
    return a * b + c


def greater_or_nan(a: FloatArray, b: FloatArray) -> Any:
    """Return for each lane whether ``a > b`` or a is NaN."""
    return (a > b) | np.isnan(a)


def at_least(a: FloatArray, floor: FloatArray) -> FloatArray:
    """Return ``a``, or ``floor`` in the lanes where a is below it; NaN stays."""
    return np.where(floor > a, floor, a)


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return ``a`` in the lanes where the condition holds, ``b`` in the others."""
    return np.where(condition, a, b)


def replaced(items: tuple[Any, ...], index: int, value: Any) -> tuple[Any, ...]:
    """Return a tuple with one item replaced."""
    return (*items[:index], value, *items[index + 1 :])


def repeat(value: Any, count: int) -> tuple[Any, ...]:
    """Return ``(value,) * count``."""
    return (value,) * count


def turn_square(
    source: FloatArray, at: int, step: int, target: FloatArray, to: int, target_step: int
) -> None:
    """``target[to + i·target_step + j] = source[at + j·step + i]`` for i and j below ``lanes``."""
    for i in range(lanes(source)):
        for j in range(lanes(source)):
            target[to + i * target_step + j] = source[at + j * step + i]
