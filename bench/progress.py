"""What a run is doing now: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

LINE_SECONDS = 10.0


class Display:
    """Shows what runs and how far it is, on stderr."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = (
            Progress(
                TextColumn("{task.percentage:3.0f} %"),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
                console=console,
            )
            if console.is_terminal
            else None
        )
        self._task = self._bar.add_task("starting", total=None) if self._bar else None
        self._next_line = 0.0

    def show(self, what: str, done: int, total: int) -> None:
        """Show it, as a line at most every ten seconds."""
        if self._bar and self._task is not None:
            self._bar.update(self._task, description=what, completed=done, total=total)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            print(f"{done / max(1, total):4.0%}  {what}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
