"""Threads: how many a driver uses, and what it does in a forked child."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numba

from kernels import threads

_forked = False


def forked() -> bool:
    """Tell whether this process was forked after this module was loaded.

    Its thread pool stayed behind in the parent; GNU OpenMP kills a child that calls it.
    """
    return _forked


@contextmanager
def limited() -> Iterator[None]:
    """Keep to ``kernels.set_num_threads`` inside, and restore the caller's Numba setting."""
    limit = threads.limit()
    if limit is None:
        yield
        return
    before = numba.get_num_threads()
    numba.set_num_threads(min(limit, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
