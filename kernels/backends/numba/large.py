"""Memory of large results is kept when the last array on it is gone, and lent again.

The C library returns blocks of 32 MiB and more to the system, which clears each page of the next
one as it is touched: a gradient of 38 MB took 2.5 ms, and 0.9 in memory that was there. What is
kept is bounded.
"""

from __future__ import annotations

import threading
import weakref

import numpy as np
from numpy.typing import NDArray

LARGE = 32 * 2**20
"""Bytes from which on glibc does not keep memory itself (DEFAULT_MMAP_THRESHOLD_MAX)."""

MOST_KEPT = 256 * 2**20
"""Bytes that are kept at most; the oldest blocks are released first."""

MOST_SPARE = 2
"""How many times as large as what is asked for a block may be."""


class _Block(np.ndarray):
    """Memory of its own. Of another type than arrays on it, whose base is therefore what is lent.

    (NumPy makes the last array of the same type in a chain of bases the base of a new one.)
    """


_free: list[_Block] = []
_lock = threading.RLock()  # memory may be given back while the same thread takes some


def lend(nbytes: int) -> NDArray[np.uint8]:
    """Return uninitialised bytes, a block's until no array on them is left."""
    block = _take(nbytes)
    lent = block[:nbytes].view(np.ndarray)
    weakref.finalize(lent, _give_back, block).atexit = False
    return lent


def _take(nbytes: int) -> _Block:
    with _lock:
        for i in range(len(_free) - 1, -1, -1):
            if nbytes <= len(_free[i]) <= MOST_SPARE * nbytes:
                return _free.pop(i)
    return np.ndarray.__new__(_Block, (nbytes,), np.uint8)


def _give_back(block: _Block) -> None:
    with _lock:
        _free.append(block)
        while sum(map(len, _free)) > MOST_KEPT:
            _free.pop(0)
