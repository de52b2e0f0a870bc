"""How the backend's functions are compiled, and where the machine code is kept.

Decorators: ``serial`` for bodies that other jitted functions call, ``unrolled`` for those of them
whose sums are counted through, ``prange_driver`` for the one that Python calls, kept on disk
(``cache.py``): all operations share it, see ``tasks``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types

from kernels.backends.numba.cache import CheckedCache
from kernels.backends.numba.parts import FOR_PARTS

FLAGS: dict[str, Any] = {
    # Nothing that lets LLVM choose at run time between ways of adding up: with "reassoc" a row's
    # softmax came out with other bits in 522 of 30,000 calls. No "nnan" or "ninf": NaN comes
    # through.
    "fastmath": {"contract"},
    "error_model": "numpy",
    "nogil": True,
}
PRANGE_ONLY = {
    # parallel=True would parallelise sums too, whose bits then depend on the number of threads.
    "prange": True,
    "comprehension": False,
    "fusion": False,
    "inplace_binop": False,
    "numpy": False,
    "reduction": False,
    "setitem": False,
    "stencil": False,
}

_NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

serial = numba.njit(**FLAGS, **_NO_WRAPPERS, **FOR_PARTS)
inlined = numba.njit(**FLAGS, **_NO_WRAPPERS, **FOR_PARTS, forceinline=True)

# Loops over the items of a tuple have to be unrolled before LLVM decides what is in registers: as
# a part of its task the measured peak was 4 GFLOP/s instead of 117.
unrolled = numba.njit(**FLAGS, **_NO_WRAPPERS)

_get_num_threads = types.ExternalFunction("get_num_threads", types.intc())
_set_num_threads = types.ExternalFunction("set_num_threads", types.void(types.intc))


@serial
def _keep_to(tasks):
    before = _get_num_threads()
    if tasks < before:
        _set_num_threads(max(1, tasks))
    return before


if numba.config.DISABLE_JIT:

    def keep_to(tasks: int) -> int:
        """Give the ``prange`` loop that follows no more threads than it has tasks.

        Returns what :func:`restore` takes. A loop of one task then runs where it is: to wake the
        other threads takes 1 µs at best, 50 when they sleep.
        """
        return tasks

    def restore(team: int) -> None:
        """Give later loops the threads that they had."""

else:
    keep_to, restore = _keep_to, serial(lambda team: _set_num_threads(team))


def prange_driver(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function that has ``prange`` loops, and can do without them."""
    dispatcher = numba.njit(**FLAGS, parallel=PRANGE_ONLY)(function)
    if not numba.config.DISABLE_JIT:
        module = function.__module__.rpartition(".")[2]
        dispatcher._cache = CheckedCache(f"{module}.{function.__name__}-parallel")
    return dispatcher
