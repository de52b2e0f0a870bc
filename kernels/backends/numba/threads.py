"""Threads: how many a driver uses, and what it does in a forked child."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numba

from kernels import threads

_one_at_a_time = threading.Lock()
_takes_callers_at_once = False


def _layer() -> str | None:
    """Return Numba's threading layer, None if its threads were not started yet."""
    try:
        return str(numba.threading_layer())
    except ValueError:
        return None


# In a child that loads this backend, a user's own Numba function may have run in the parent.
_forked = threads.forked() and _layer() is not None


def forked() -> bool:
    """Tell whether this process was forked after Numba's threads were started, by whomever.

    They stayed behind in the parent; GNU OpenMP kills a child that calls them.
    """
    return _forked


def run(driver: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Call a threaded driver: no more threads than allowed, no clash with other callers."""
    if _takes_callers_at_once:
        _run_limited(driver, arguments)
        return
    # Numba's own "workqueue" layer, its last resort, aborts the process when two Python threads
    # call it; which layer it is, the first call decides.
    with _one_at_a_time:
        _start()
        _run_limited(driver, arguments)


def _run_limited(driver: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Keep to ``kernels.set_num_threads``, and restore the caller's Numba setting."""
    limit = threads.limit()
    if limit is None:
        driver(*arguments)
        return
    before = numba.get_num_threads()
    numba.set_num_threads(min(limit, numba.config.NUMBA_NUM_THREADS))
    try:
        driver(*arguments)
    finally:
        numba.set_num_threads(before)


def _start() -> None:
    """Start Numba's threads: from then on jitted code can ask how many there are."""
    global _takes_callers_at_once
    numba.get_num_threads()
    _takes_callers_at_once = _layer() != "workqueue"


def _after_fork() -> None:
    global _forked, _one_at_a_time, _takes_callers_at_once
    _forked = _layer() is not None
    _takes_callers_at_once = False
    _one_at_a_time = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
