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


# Whether this process was forked after Numba's threads were started, by whomever: they stayed
# behind in the parent; GNU OpenMP kills a child that calls them. In a child that loads this
# backend, a user's own Numba function may have run in the parent.
_forked = threads.forked() and _layer() is not None


def most() -> int:
    """Return how many threads a driver may run on, at most."""
    return int(numba.config.NUMBA_NUM_THREADS)


def run(driver: Callable[..., None], tables: Any, end: int, arrays: tuple[int, ...]) -> None:
    """Call a threaded driver: no more threads than allowed, no clash with other callers.

    It is told where the tables end, how many threads it may use, 0 standing for those that Numba is
    set to, and where the objects of other arrays are.
    """
    limit = threads.limit()
    members = 1 if _forked else 0 if limit is None else min(limit, most())
    if _takes_callers_at_once:
        driver(tables, end, members, *arrays)
        return
    # Numba's own "workqueue" layer, its last resort, aborts the process when two Python threads
    # call it; which layer it is, the first call decides.
    with _one_at_a_time:
        _start()
        driver(tables, end, members, *arrays)


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
