"""Working memory that calls borrow and give back, so that a steady state allocates nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba.memory import empty

MOST_KEPT = 8
"""Buffers kept for later calls; those above it are released."""

_free: list[NDArray[np.uint8]] = []
_lock = threading.Lock()


@contextmanager
def borrowed(size: int, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Lend ``size`` uninitialised elements, aligned, to one caller at a time."""
    nbytes = size * dtype.itemsize
    buffer = _take(nbytes)
    try:
        yield buffer[:nbytes].view(dtype)
    finally:
        with _lock:
            if len(_free) < MOST_KEPT:
                _free.append(buffer)


def _take(nbytes: int) -> NDArray[np.uint8]:
    with _lock:
        for i in range(len(_free) - 1, -1, -1):
            if len(_free[i]) >= nbytes:
                return _free.pop(i)
        if len(_free) == MOST_KEPT:
            _free.pop(0)
    return empty((nbytes,), np.dtype(np.uint8))
