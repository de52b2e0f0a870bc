"""Threads: how many a driver uses, and what it does in a forked child."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numba

from kernels import threads

_one_at_a_time = threading.Lock()


def _layer() -> str | None:
    """Return Numba's threading layer, None if its threads were not started yet."""
    try:
        return str(numba.threading_layer())
    except ValueError:
        return None


# In a child that loads this backend, a user's own Numba function may have run in the parent.
_forked = threads.forked() and _layer() is not None


def most() -> int:
    """Return how many threads a driver may run on, at most."""
    return int(numba.config.NUMBA_NUM_THREADS)


def forked() -> bool:
    """Tell whether this process was forked after Numba's threads were started, by whomever.

    They stayed behind in the parent; GNU OpenMP kills a child that calls them.
    """
    return _forked


@contextmanager
def running() -> Iterator[None]:
    """Surround each call of a threaded driver: no more threads than allowed, no clash."""
    with _one_at_a_time if _may_clash() else nullcontext(), _limited():
        yield


def _may_clash() -> bool:
    """Tell whether calls from several Python threads must wait for each other.

    Numba's own "workqueue" layer, its last resort, aborts the process otherwise.
    """
    return _layer() in ("workqueue", None)  # None: the first call chooses one


@contextmanager
def _limited() -> Iterator[None]:
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
    global _forked, _one_at_a_time
    _forked = _layer() is not None
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
