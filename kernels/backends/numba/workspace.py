"""Working memory that calls borrow and give back, so that a steady state allocates nothing."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba.memory import empty

MOST_KEPT = 8
"""Buffers kept for later calls; those above it are released."""

_free: list[NDArray[np.uint8]] = []
_lock = threading.Lock()


class borrowed:  # noqa: N801 - a context manager, made by hand: a generator takes 2 µs longer
    """Lend ``size`` uninitialised elements, aligned, to one caller at a time."""

    __slots__ = ("_buffer", "_dtype", "_nbytes")

    def __init__(self, size: int, dtype: np.dtype[Any]) -> None:
        self._dtype, self._nbytes = dtype, size * dtype.itemsize

    def __enter__(self) -> NDArray[Any]:
        self._buffer = _take(self._nbytes)
        return self._buffer[: self._nbytes].view(self._dtype)

    def __exit__(self, *_: object) -> None:
        with _lock:
            if len(_free) < MOST_KEPT:
                _free.append(self._buffer)


def _take(nbytes: int) -> NDArray[np.uint8]:
    with _lock:
        for i in range(len(_free) - 1, -1, -1):
            if len(_free[i]) >= nbytes:
                return _free.pop(i)
        if len(_free) == MOST_KEPT:
            _free.pop(0)
    return empty((nbytes,), np.dtype(np.uint8))
