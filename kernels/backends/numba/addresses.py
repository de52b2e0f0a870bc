"""Where arrays are in memory, and new ones: each small call asks for some, in the quickest way."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba.large import LARGE, lend

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector. NumPy's own 16 halve the bandwidth from L1."""

SMALL = 16 * 2**10
"""Bytes up to which a result lies as NumPy puts it: it is made in 0.4 µs, an aligned one in 1.0. So
a ``relu`` of 4 to 16 KiB takes 0.9 of the time, but batch-norm of 32 KiB 1.03, of 64 KiB 1.15."""

DATA = object.__basicsize__
"""Bytes from where an array object is to where it says where its elements are: NumPy's ABI has that
right behind what all Python objects begin with (``PyArrayObject_fields``)."""

_address_of = ctypes.addressof
_char_in: Callable[[Any], ctypes.c_char] = ctypes.c_char.from_buffer
_empty, _array, _byte = np.empty, np.ndarray, np.dtype(np.uint8)  # looked up once


def aligned(
    shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int, strides: tuple[int, ...]
) -> NDArray[Any]:
    """Return an uninitialised aligned array of so many bytes."""
    raw = _empty(nbytes + ALIGNMENT, _byte) if nbytes < LARGE else lend(nbytes + ALIGNMENT)
    return _array(shape, dtype, raw, -_address_of(_char_in(raw)) % ALIGNMENT, strides)


def new_result(
    shape: tuple[int, ...], dtype: np.dtype[Any], nbytes: int, strides: tuple[int, ...]
) -> NDArray[Any]:
    """Return an uninitialised array, aligned where that pays."""
    if nbytes <= SMALL:
        return _array(shape, dtype, None, 0, strides)
    return aligned(shape, dtype, nbytes, strides)


def says_where() -> bool:
    """Tell whether array objects are as ``DATA`` has it."""
    array = _empty(1)
    return ctypes.c_ssize_t.from_address(id(array) + DATA).value == address_of(array)


def address_of(array: NDArray[Any]) -> int:
    """Return where an array is, 0 if there is nothing in it: in 0.3 µs, ``ctypes.data`` 1.0."""
    if array.size == 0:
        return 0
    try:
        return _address_of(_char_in(array))
    except (TypeError, ValueError, BufferError):  # read-only, or with gaps
        return int(array.ctypes.data)
