"""How many threads the backends may use; the settings of Numba and BLAS stay untouched."""

from __future__ import annotations

import os

from kernels.errors import ShapeError
from kernels.ops import checks

_limit: int | None = None
_forked = False


def set_num_threads(n: int) -> None:
    """Limit the threads that each call of a kernel uses, in this process.

    Parameters
    ----------
    n : int
        From 1 to the number of CPUs this process may use, or to ``NUMBA_NUM_THREADS`` where that
        is set.

    Raises
    ------
    ShapeError, TypeError
        If n is out of that range or no integer.
    """
    global _limit
    number = checks.integer("n", n, 1)
    if number > largest():
        raise ShapeError(
            f"n must be at most {largest()}, this process's CPUs (or NUMBA_NUM_THREADS, which has "
            f"to be set before Python starts); got {n!r}"
        )
    _limit = number


def get_num_threads() -> int:
    """Return how many threads a kernel call may use: the limit that is set, or the most there are.

    A backend can use fewer: naive always one, numpy what BLAS is set to.
    """
    return largest() if _limit is None else _limit


def limit() -> int | None:
    """Return what :func:`set_num_threads` set, None if it was never called."""
    return _limit


def forked() -> bool:
    """Tell whether this process was forked from one that had imported this package."""
    return _forked


def largest() -> int:
    """Return how many threads a kernel call can use at most."""
    text = os.environ.get("NUMBA_NUM_THREADS", "")
    if text.isdecimal() and int(text) > 0:
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
