"""Validation shared by all operations: what is wrong is said before anything is written."""

from __future__ import annotations

import functools
import math
import numbers
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import Backend, FloatArray, IntArray
from kernels.errors import ShapeError

FLOAT_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))

LARGEST_ARRAY = int(np.iinfo(np.intp).max)
"""Bytes of an array, at most."""

LARGEST_INTEGER = 2**31 - 1
"""Largest size, stride, padding or dilation: products of two of them still fit 64 bits."""

OVERLAP_WORK = 10_000
"""Candidates that NumPy may try to decide whether two strided arrays overlap."""


def floats(*, ndim: int | None = None, min_ndim: int = 0, **arrays: Any) -> None:
    """Check that all are float arrays of one dtype, and the first has the wanted dimensions.

    A bias or weight that may be left out is for :func:`optional_floats`.
    """
    first_name, first = next(iter(arrays.items()))
    for name, array in arrays.items():
        _float(name, array, first_name, first)
    if ndim is not None and first.ndim != ndim:
        raise ShapeError(f"{first_name} must have {ndim} dimensions, got shape {first.shape}")
    if first.ndim < min_ndim:
        raise ShapeError(
            f"{first_name} must have {min_ndim} or more dimensions, got shape {first.shape}"
        )


def optional_floats(x: FloatArray, **arrays: Any) -> None:
    """Check arrays that may be None; the others have the dtype of ``x``, which is checked."""
    for name, array in arrays.items():
        if array is not None:
            _float(name, array, "x", x)


def _float(name: str, array: Any, first_name: str, first: Any) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array of float32 or float64, got {type(array).__name__}"
        )
    if array.dtype not in FLOAT_DTYPES:
        raise TypeError(f"{name} must be of dtype float32 or float64, got {array.dtype}")
    if array.dtype != first.dtype:
        raise TypeError(
            f"{name} must have the dtype of {first_name}, {first.dtype}; got {array.dtype}"
        )


def shape(name: str, array: NDArray[Any] | None, wanted: tuple[int, ...], why: str) -> None:
    """Check an array's exact shape; ``why`` says what it has to fit."""
    if array is not None and array.shape != wanted:
        raise ShapeError(f"{name} must have shape {wanted} to fit {why}, got {array.shape}")


def output(name: str, out: Any, wanted: tuple[int, ...], like: FloatArray, **inputs: Any) -> None:
    """Check an array that a result is to be written to."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array of {like.dtype}, got {type(out).__name__}")
    if out.dtype != like.dtype:
        raise TypeError(f"{name} must have the dtype of the inputs, {like.dtype}; got {out.dtype}")
    if out.shape != wanted:
        raise ShapeError(f"{name} must have shape {wanted} to hold the result, got {out.shape}")
    if not out.flags.writeable:
        raise ShapeError(f"{name} must be writeable, got a read-only array")
    if 0 in out.strides and _repeats(out):
        raise ShapeError(f"{name} must not repeat elements (a stride is 0: a broadcast view)")
    for input_name, array in inputs.items():
        if array is not None and _share_memory(out, array):
            raise ShapeError(f"{name} must not share memory with {input_name}")


def _repeats(array: NDArray[Any]) -> bool:
    sizes_and_steps = zip(array.shape, array.strides, strict=True)
    return array.size > 0 and any(size > 1 and not step for size, step in sizes_and_steps)


def _share_memory(a: NDArray[Any], b: NDArray[Any]) -> bool:
    try:
        return np.shares_memory(a, b, max_work=OVERLAP_WORK)  # type: ignore[arg-type]  # any int
    except np.exceptions.TooHardError:
        return True


def result(
    backend: Backend,
    out: FloatArray | None,
    wanted: tuple[int, ...],
    like: FloatArray,
    **inputs: Any,
) -> FloatArray:
    """Return ``out`` once checked, or a new array of the backend's favourite layout."""
    if out is None:
        return new(backend, wanted, like.dtype)
    output("out", out, wanted, like, **inputs)
    return out


def new(backend: Backend, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a new array of the backend's favourite layout."""
    sizes = [size or 1 for size in shape] if 0 in shape else shape
    if math.prod(sizes) * dtype.itemsize > LARGEST_ARRAY:
        raise ShapeError(f"the result must fit the memory, but it would have shape {shape}")
    return backend.empty(shape, dtype)


def integer(name: str, value: Any, minimum: int) -> int:
    """Check a plain integer with a lower limit."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < minimum:
        raise ShapeError(f"{name} must be {minimum} or more, got {value!r}")
    if number > LARGEST_INTEGER:
        raise ShapeError(f"{name} must be at most {LARGEST_INTEGER}, got {value!r}")
    return number


def pair(name: str, value: Any, minimum: int) -> tuple[int, int]:
    """Check an integer or a pair of them, for height and width."""
    if not isinstance(value, tuple | list):
        number = integer(name, value, minimum)
        return number, number
    if len(value) != 2:
        raise ShapeError(f"{name} must be an integer or (height, width), got {value!r}")
    return integer(name, value[0], minimum), integer(name, value[1], minimum)


def image_shape(name: str, value: Any) -> tuple[int, int, int, int]:
    """Check a shape (N, C, H, W) given as integers."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} must be a tuple of 4 integers, got {value!r}")
    if len(value) != 4:
        raise ShapeError(f"{name} must have 4 entries, got {value!r}")
    n, c, h, w = (integer(f"{name}[{i}]", v, 0) for i, v in enumerate(value))
    return n, c, h, w


def number(name: str, value: Any, largest: float = math.inf) -> float:
    """Check a real number from 0 to a finite one, or to ``largest``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    if not (math.isfinite(converted) and 0 <= converted <= largest):
        limit = "finite and 0 or more" if largest == math.inf else f"from 0 to {largest:g}"
        raise ShapeError(f"{name} must be {limit}, got {value!r}")
    return converted


def integers(name: str, array: Any) -> None:
    """Check for an array of any integer dtype but bool."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array of integers, got {type(array).__name__}")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be of an integer dtype, got {array.dtype}")


def within(name: str, array: IntArray, limit: int, why: str) -> None:
    """Check that all entries are from 0 to ``limit - 1``."""
    if array.size == 0:
        return
    unsigned = array.view(_unsigned(array.dtype))  # where negative numbers are large
    if np.maximum.reduce(unsigned, axis=None) < limit:
        return
    low, high = int(array.min()), int(array.max())
    wrong = low if low < 0 else high
    raise ShapeError(f"{name} must be from 0 to {limit - 1} to fit {why}, got {wrong}")


@functools.cache
def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the integers of the same size and byte order that are not negative."""
    return np.dtype(dtype.str.replace("i", "u"))
