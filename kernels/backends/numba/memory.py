"""Memory layout: arrays as the jitted code wants them, flat, aligned and channels-last.

Every public call passes here several times, and a small one takes 10 µs in all: hence
``transpose``, where ``moveaxis`` takes 2 µs longer, and strides that are worked out once.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba.addresses import aligned
from kernels.backends.numba.turning import turn
from kernels.capturing import active, also

LARGE = 4096
"""Elements from which on planes are turned over by vectors."""


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an uninitialised aligned array: (N, C, ...) channels-last from 3 axes on."""
    return aligned(shape, dtype, *_layout(shape, dtype))


@functools.lru_cache(maxsize=256)
def _layout(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, tuple[int, ...]]:
    """Return the bytes of such an array, and its strides."""
    axes = list(range(len(shape)))
    in_memory = axes if len(shape) < 3 else [0, *axes[2:], 1]
    strides, nbytes = [0] * len(shape), dtype.itemsize
    for axis in reversed(in_memory):
        strides[axis] = nbytes
        nbytes *= shape[axis]
    return nbytes, tuple(strides)


def flat_input(array: NDArray[Any]) -> NDArray[Any]:
    """Return an input as a vector in the order (N, ..., C), copied only if it must be."""
    if _turns(array):
        return _turned(array)
    return flat_parameter(_channels_last(array))


def flat_parameter(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as a vector in the order of its axes, copied only if it must be."""
    if array.flags.c_contiguous:
        return array.reshape(-1)
    flat = np.empty(array.size, array.dtype)
    also(np.copyto, flat.reshape(array.shape), array)
    return flat


def in_one_piece(parts: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    """Return vectors of one size one behind the other, copied unless they are a table's rows."""
    table = parts[0].base
    if isinstance(table, np.ndarray) and _are_rows(table, parts):
        return table.reshape(-1)
    flat = np.empty(len(parts) * len(parts[0]), parts[0].dtype)
    also(np.concatenate, parts, out=flat)
    return flat


def _are_rows(table: NDArray[Any], parts: tuple[NDArray[Any], ...]) -> bool:
    if table.shape != (len(parts), len(parts[0])) or not table.flags.c_contiguous:
        return False
    rows = zip(table, parts, strict=True)
    return all(
        row.ctypes.data == part.ctypes.data and row.dtype == part.dtype for row, part in rows
    )


class FlatOutput:
    """An output as a writeable vector in the order (N, ..., C); ``with`` copies back if it must."""

    __slots__ = ("_flat", "_target")

    def __init__(self, array: NDArray[Any]) -> None:
        target = _channels_last(array)
        if target.flags.c_contiguous:
            self._target, self._flat = None, target.reshape(-1)
        else:
            self._target, self._flat = target, np.empty(array.size, array.dtype)

    def __enter__(self) -> NDArray[Any]:
        return self._flat

    def __exit__(self, *_: object) -> None:
        target = self._target
        if target is None:
            return
        planes = target if target.ndim < 3 else target.transpose(_to_second(target.ndim))
        if _turns(planes):
            N, C, *space = planes.shape
            turn(self._flat, planes.reshape(-1), N, math.prod(space), C)
        else:
            also(np.copyto, target, self._flat.reshape(target.shape))


def in_planes(array: NDArray[Any]) -> bool:
    """Tell whether an array lies in the order (N, C, ...), and that is another than (N, ..., C)."""
    if array.ndim < 3 or not array.flags.c_contiguous:
        return False
    return array.dtype.kind == "f" and 1 not in (array.shape[1], math.prod(array.shape[2:]))


def _turns(array: NDArray[Any]) -> bool:
    """Tell whether an array lies in planes that :func:`turn` should turn over, not NumPy.

    With one thread that took 17 µs for (32, 32, 14, 14) of float32, NumPy 77.
    """
    if array.size < LARGE and active() is None:  # a capture does better without NumPy
        return False
    return in_planes(array)


def _turned(array: NDArray[Any]) -> NDArray[Any]:
    N, C, *space = array.shape
    flat = np.empty(array.size, array.dtype)
    turn(array.reshape(-1), flat, N, C, math.prod(space))
    return flat


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.ndim < 3 else array.transpose(_to_last(array.ndim))


@functools.cache
def _to_last(ndim: int) -> tuple[int, ...]:
    """Order of axes that turns (N, C, ...) into (N, ..., C)."""
    return (0, *range(2, ndim), 1)


@functools.cache
def _to_second(ndim: int) -> tuple[int, ...]:
    """Order of axes that turns (N, ..., C) into (N, C, ...)."""
    return (0, ndim - 1, *range(1, ndim - 1))
