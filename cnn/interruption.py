"""Ctrl-C that waits for a good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the first Ctrl-C; the second one interrupts at once, as usual."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def postponed() -> Iterator[Interruption]:
    """Note Ctrl-C instead of raising KeyboardInterrupt, so that a step is never half done.

    If nobody raised it by the end, it is raised then. Nothing is changed outside the main thread,
    or where the program handles SIGINT in its own way.
    """
    interruption = Interruption()
    handled = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not handled:
        yield interruption
        return
    signal.signal(signal.SIGINT, interruption)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interruption.requested:
        raise KeyboardInterrupt
