"""Calls that come again: like an earlier one but for the arrays, and so without looking at it anew.

What is right about a call depends on shapes, memory layouts, dtypes and settings alone, and so does
what has to be done. The third time that these are the same the call is captured, on arrays that
stand in for its own; from then on only addresses are filled in. A call of ``relu`` on 16,384 values
takes 7 µs then, and 18 otherwise; one of ``batch_norm`` on 32 × 128 values 9 and 46.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from kernels import dispatch
from kernels.capturing import active, capture
from kernels.layout import is_dense

P = ParamSpec("P")
R = TypeVar("R")

LARGEST = 16 * 2**20
"""Bytes of arguments from which on a call takes so long that it does not matter, 1 ms or more. With
two of 3 MiB the weight gradient of a depthwise convolution took 262 µs, and 43 of Python."""

MOST = 64
"""Calls that each thread knows; the oldest is forgotten."""

TIMES = 3
"""How often a call has to come before it is captured: that takes as long as three."""

Array = NDArray[Any]


class _Known(threading.local):
    """What each thread knows: how often a call came, or how to repeat it; None if it cannot.

    All of a thread's calls work in the same memory, one after the other.
    """

    def __init__(self) -> None:
        self.calls: dict[Any, int | Repeated | None] = {}
        self.memory: list[Any] = []


_known, _array = _Known(), np.ndarray


def forget() -> None:
    """Forget the calls of this thread: what was planned for them is planned anew."""
    _known.calls.clear()


def repeatable(function: Callable[P, R]) -> Callable[P, R]:
    """Let calls of a public operation be repeated, on backends that can be captured.

    The operation allocates what it returns, and looks at no array's values itself.
    """
    return _repeatable(function, None)


def repeatable_after(
    check: Callable[..., object],
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let calls be repeated of an operation that looks at its arrays' values by ``check`` alone.

    That is called with the operation's arguments before each repetition.
    """
    return lambda function: _repeatable(function, check)


def _repeatable(function: Callable[P, R], check: Callable[..., object] | None) -> Callable[P, R]:
    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        meant: Any = named.get("backend")
        backend = dispatch.resolve(meant)
        if not getattr(backend, "CAPTURES", False) or active() is not None:
            return function(*arguments, **named)
        alike, arrays = [function, backend, len(arguments), *named], []
        for value in (*arguments, *named.values()):
            if type(value) is _array and value.ndim:
                alike.append((value.shape, value.strides, value.dtype))
                arrays.append(value)
            else:
                alike.append(_alike(value))
        key, calls = tuple(alike), _known.calls
        try:
            known = calls.get(key, 0)
        except TypeError:  # an argument has no hash
            return function(*arguments, **named)
        if isinstance(known, Repeated):
            if check is not None:
                check(*arguments, **named)
            result: R = known.wrap(*known.run(arrays))
            return result
        if known is not None:
            calls[key] = known + 1
            if known + 1 >= TIMES:
                calls[key] = _repeated(function, meant, arguments, named)
            if len(calls) > MOST:
                del calls[next(iter(calls))]
        return function(*arguments, **named)

    return call


def _alike(value: Any) -> Any:
    """Return what settings that are alike have in common: 1, 1.0 and True are not.

    An array without axes has no hash: it may stand for a number, which is looked at each time.
    """
    kind = type(value)
    return (kind, *map(_alike, value)) if kind is tuple else (kind, value)


class Repeated:
    """A call that is known.

    Parameters
    ----------
    run : callable
        Computes with arguments, and returns results, arrays in a list.
    wrap : callable
        Makes the call's result of these arrays.
    """

    __slots__ = ("run", "wrap")

    def __init__(self, run: Callable[[list[Array]], list[Array]], wrap: Callable[..., Any]) -> None:
        self.run, self.wrap = run, wrap


def _repeated(
    function: Callable[..., Any], backend: str | None, arguments: Any, named: dict[str, Any]
) -> Repeated | None:
    """Capture a call on stand-ins; return None if it has to be made as ever."""
    arrays = [v for v in (*arguments, *named.values()) if type(v) is np.ndarray]
    if named.get("out") is not None or sum(array.nbytes for array in arrays) > LARGEST:
        return None
    if not all(array.size > 0 and is_dense(array) for array in arrays):
        return None
    stand_ins: list[Array] = []

    def stand_in(value: Any) -> Any:
        if type(value) is not np.ndarray:
            return value
        stand_ins.append(np.copy(value, order="K"))
        return stand_ins[-1]

    taken = [stand_in(value) for value in arguments]
    named = {name: stand_in(value) for name, value in named.items()}
    returned: list[Any] = []
    captured = capture(
        lambda: returned.append(function(*taken, **named)), backend=backend, memory=_known.memory
    )
    if captured is None or len(captured.steps) != 1:
        return None
    results, wrap = _taken_apart(returned[0])
    on_others = getattr(captured.steps[0], "on_others", None)
    run = None if on_others is None else on_others(stand_ins, results)
    return None if run is None else Repeated(run, wrap)


def _taken_apart(result: Any) -> tuple[list[Array], Callable[..., Any]]:
    """Return the arrays of a result, and what makes such a result of others."""
    if not isinstance(result, tuple):
        return [result], lambda array: array
    kind: Any = type(result)
    there = [array is not None for array in result]

    def wrap(*arrays: Array) -> Any:
        left = iter(arrays)
        return kind(*(next(left) if is_there else None for is_there in there))

    return [array for array in result if array is not None], kind if all(there) else wrap
