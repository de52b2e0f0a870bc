"""Calls of kernels captured as they are made, to be made again: the same work on the same arrays.

What a small call takes is mostly Python: to look at its arguments, to plan, to find out where
arrays are. A trainer makes the same calls a million times. As with a CUDA graph it makes them once
under :func:`capture`, and then lets :meth:`Capture.replay` repeat them: kernels that follow one
another are then one call of compiled code.

A backend that can be captured says so by ``CAPTURES = True``, and keeps to three rules: memory that
a call works in comes from the capture; what it does besides its compiled code it does through
:func:`also`; where it cannot, it calls :func:`refuse`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from kernels import dispatch

_local = threading.local()


class Capture:
    """Steps to be repeated.

    Attributes
    ----------
    steps : list of callable
        What to call, without arguments.
    memory : list
        Where a backend keeps the memory that the steps work in, one after the other.
    whole : bool
        Whether nothing is missing.
    steady : bool
        Whether weights seldom change between replays.
    """

    def __init__(self, *, steady: bool = False, memory: list[Any] | None = None) -> None:
        self.steady = steady
        self.steps: list[Callable[[], object]] = []
        self.memory = [] if memory is None else memory
        self.whole = True

    def replay(self) -> None:
        """Do once more what was captured, with what its arrays hold now."""
        for step in self.steps:
            step()


def capture(
    function: Callable[[], object],
    *,
    backend: str | None = None,
    steady: bool = False,
    memory: list[Any] | None = None,
) -> Capture | None:
    """Call a function, and capture the kernels that it calls.

    Parameters
    ----------
    function : callable
        All arrays that its calls read and write have to be there before, or to come from calls:
        a replay looks nothing up. What it does besides, it does through :func:`also`.
    backend : str, optional
        The one it calls, if not the current backend.
    steady : bool
        Say that the weights will seldom change: a backend may keep what it makes of them. It has
        to notice when they do change.
    memory : list, optional
        That of earlier captures, none of which is ever replayed while another one is.

    Returns
    -------
    Capture or None
        None if the backend, or one of the calls, cannot be captured.

    Raises
    ------
    UnknownBackendError
        If there is no backend of that name; or what the function raises.
    """
    if not offered(backend):
        function()
        return None
    made = Capture(steady=steady, memory=memory)
    with _using(made):
        function()
    return made if made.whole else None


def offered(backend: str | None = None) -> bool:
    """Whether a backend, the current one if none is named, can be captured.

    Raises
    ------
    UnknownBackendError
        If there is no backend of that name.
    """
    return bool(getattr(dispatch.resolve(backend), "CAPTURES", False))


def active() -> Capture | None:
    """Return what this thread is capturing, None if nothing."""
    return getattr(_local, "capture", None)


def also(function: Callable[..., object], *arguments: Any, **named: Any) -> None:
    """Call a function now, and again with the same arguments in each replay."""
    capturing = active()
    if capturing is None:
        function(*arguments, **named)
        return
    capturing.steps.append(partial(function, *arguments, **named))
    with _using(None):  # kernels that it calls are its own affair
        function(*arguments, **named)


def refuse() -> None:
    """Say that what is being done now cannot be captured."""
    capturing = active()
    if capturing is not None:
        capturing.whole = False


@contextmanager
def _using(value: Capture | None) -> Iterator[None]:
    before = active()
    _local.capture = value
    try:
        yield
    finally:
        _local.capture = before
