"""Memory layout: arrays as the jitted code wants them, flat, aligned and channels-last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba.turning import turn

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector. NumPy's own 16 halve the bandwidth from L1."""

LARGE = 4096
"""Elements from which on copying by vectors pays."""


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialised aligned array: (N, C, ...) channels-last from 3 axes on."""
    size = math.prod(shape)
    raw = np.empty(size * dtype.itemsize + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT  # .ctypes.data takes 1 µs longer
    flat = raw[start : start + size * dtype.itemsize].view(dtype)
    if len(shape) < 3:
        return flat.reshape(shape)
    N, C, *space = shape
    return flat.reshape(N, *space, C).transpose(0, -1, *range(1, len(shape) - 1))


def flat_input(array: NDArray[Any]) -> NDArray[Any]:
    """Return an input as a read-only vector in the order (N, ..., C), copied only if it must be.

    All inputs then have one Numba type. Read-only, strided and writeable arrays would each make
    Numba compile every driver anew.
    """
    if _in_planes(array):
        flat = _turned(array, array.shape[1], math.prod(array.shape[2:]))
    else:
        flat = np.ascontiguousarray(_channels_last(array).reshape(-1))
    view = flat.view()
    view.flags.writeable = False
    return view


class FlatOutput:
    """An output as a writeable vector in the order (N, ..., C); ``with`` copies back if it must."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array, self._target = array, _channels_last(array)
        self._direct = bool(self._target.flags.c_contiguous)
        self._flat = self._target.reshape(-1) if self._direct else np.empty(array.size, array.dtype)

    def __enter__(self) -> NDArray[Any]:
        return self._flat

    def __exit__(self, *_: object) -> None:
        if self._direct:
            return
        if _in_planes(self._array):
            N, C, *space = self._array.shape
            turn(self._flat, self._array.reshape(-1), N, math.prod(space), C)
        else:
            self._target[...] = self._flat.reshape(self._target.shape)


def _in_planes(array: NDArray[Any]) -> bool:
    """Tell whether an array lies in the order (N, C, ...), and NumPy would take long to copy it.

    NumPy turned (128, 32, 14, 14) over in 1500 µs, :func:`turn` does in ....
    """
    large = array.size > LARGE and array.ndim > 2 and array.dtype.kind == "f"
    return large and bool(array.flags.c_contiguous) and array.shape[1] > 1


def _turned(array: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    flat = np.empty(array.size, array.dtype)
    source = array.reshape(-1).view()
    source.flags.writeable = False
    turn(source, flat, array.shape[0], rows, columns)
    return flat


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim <= 2:
        return array
    return array.transpose(0, *range(2, array.ndim), 1)  # np.moveaxis takes 2 µs longer
