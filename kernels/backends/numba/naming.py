"""Names of functions, by which the linker tells them apart.

Numba numbers the functions that a process compiles. Code that is kept was numbered by another
process: two closures of one factory, which have the same name, may have the same number, too. Then
the linker takes one for the other: a depthwise convolution came out of another one's loops.
"""

from __future__ import annotations

import hashlib
from types import FunctionType
from typing import Any

import numba

DIGITS = 12


def named(function: Any) -> Any:
    """Give a closure a name that tells what it closes over, and return it.

    Raises
    ------
    TypeError
        If it closes over something that has no such name itself, as a closure that was not named.
    """
    if _needs_a_name(function) and not numba.config.DISABLE_JIT:
        held = [_name_of(cell.cell_contents) for cell in function.__closure__]
        digest = hashlib.sha256(repr(held).encode()).hexdigest()[:DIGITS]
        function.__qualname__ += f"_{digest}"
        function.is_named = True
    return function


def _needs_a_name(function: FunctionType) -> bool:
    return bool(function.__closure__) and not hasattr(function, "is_named")


def _name_of(value: Any) -> str:
    """Return what is the same in all processes, and another for what is compiled otherwise."""
    if isinstance(value, (bool, int, float, str)):
        return repr(value)
    function = getattr(value, "py_func", getattr(value, "_defn", value))
    if isinstance(function, FunctionType) and not _needs_a_name(function):
        return f"{function.__module__}.{function.__qualname__}"
    raise TypeError(f"a compiled function may close over numbers and functions; got {value!r}")
