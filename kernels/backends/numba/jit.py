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
from kernels.backends.numba.naming import named
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


def _named(decorator: Callable[..., Any]) -> Callable[..., Any]:
    return lambda function: decorator(named(function))


serial = _named(numba.njit(**FLAGS, **_NO_WRAPPERS, **FOR_PARTS))
inlined = _named(numba.njit(**FLAGS, **_NO_WRAPPERS, **FOR_PARTS, forceinline=True))

# Loops over the items of a tuple have to be unrolled before LLVM decides what is in registers: as
# a part of its task a loop over 12 sums ran at 4 GFLOP/s instead of 117. Of more than 10 turns LLVM
# leaves a loop as it is, for Intel's CPUs at least: those are emitted, as by ``add_products``.
unrolled = _named(numba.njit(**FLAGS, **_NO_WRAPPERS))

_get_num_threads = types.ExternalFunction("get_num_threads", types.intc())
_set_num_threads = types.ExternalFunction("set_num_threads", types.void(types.intc))


@serial
def _given_threads():
    return _get_num_threads()


@serial
def _give_threads(number):
    _set_num_threads(number)


if numba.config.DISABLE_JIT:

    def given_threads() -> int:
        """Return on how many threads a ``prange`` loop runs that follows: it is a plain one."""
        return 1

    def give_threads(number: int) -> None:
        """Let ``prange`` loops that follow run on so many threads.

        To wake those that a loop has no use for takes 1 µs at best, 50 when they sleep.
        """

else:
    # Numba's own functions are addresses to it, which keep a driver's code from being kept.
    given_threads, give_threads = _given_threads, _give_threads


def prange_driver(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function that has ``prange`` loops, and can do without them."""
    dispatcher = numba.njit(**FLAGS, parallel=PRANGE_ONLY)(function)
    if not numba.config.DISABLE_JIT:
        module = function.__module__.rpartition(".")[2]
        dispatcher._cache = CheckedCache(f"{module}.{function.__name__}-parallel")
    return dispatcher
