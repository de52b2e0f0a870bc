"""Tables: what the driver is given to run, now, again, or on other arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba import threads
from kernels.backends.numba.addresses import new_result, says_where
from kernels.backends.numba.driver import OTHERS, run_tables
from kernels.capturing import Capture


class Tables:
    """Tables that follow one another.

    Parameters
    ----------
    numbers : array of int64
        One table behind the other.
    arrays : dict of int to object
        What the numbers at these places are the addresses of; they stay in memory so long.
    """

    def __init__(self, numbers: NDArray[np.int64], arrays: dict[int, Any]) -> None:
        self.numbers, self.arrays = numbers, arrays

    def __call__(self) -> None:
        """Run them."""
        execute(self.numbers)

    def join(self, capture: Capture) -> None:
        """Let a capture run these tables too, together with those before them."""
        before = capture.steps[-1] if capture.steps else None
        if isinstance(before, Tables):
            numbers, first = np.concatenate((before.numbers, self.numbers)), len(before.numbers)
            moved = {first + place: array for place, array in self.arrays.items()}
            capture.steps[-1] = Tables(numbers, before.arrays | moved)
        else:
            capture.steps.append(self)

    def on_others(
        self, given: Sequence[NDArray[Any]], written: Sequence[NDArray[Any]]
    ) -> OnOthers | None:
        """Return what runs them on other arrays, and returns what it wrote.

        They have the layouts of those given, and what is returned those of the written ones, all
        of them without gaps. None if one of these is not written after all.
        """
        arrays = [*given, *written]
        if len(arrays) > OTHERS or not says_where():
            return None
        starts = [int(array.ctypes.data) for array in arrays]
        changes = [
            (place, number, at - start)
            for place, at in ((place, int(self.numbers[place])) for place in self.arrays)
            for number, (start, array) in enumerate(zip(starts, arrays, strict=True))
            if start <= at < start + array.nbytes
        ]
        if not {number for _, number, _ in changes}.issuperset(range(len(given), len(arrays))):
            return None
        layouts = [(array.shape, array.dtype, array.nbytes, array.strides) for array in written]
        replaced = {place for place, _, _ in changes}
        kept = [array for place, array in self.arrays.items() if place not in replaced]
        numbers = np.concatenate((self.numbers, np.array(changes, np.int64).reshape(-1)))
        unused = (0,) * (OTHERS - len(arrays))
        return OnOthers(numbers, len(self.numbers), unused, layouts, kept)


@dataclass(frozen=True, slots=True)
class OnOthers:
    """Tables to be run on other arrays each time.

    Attributes
    ----------
    numbers : array of int64
        The tables, and behind them what is to be changed.
    end : int
        Where the tables end.
    unused : tuple of int
        What the driver is given for arrays that there are not.
    layouts : list of tuple
        Shape, dtype, bytes and strides of the arrays that are written.
    kept : list
        The arrays that stay the same; they stay in memory so long.
    """

    numbers: NDArray[np.int64]
    end: int
    unused: tuple[int, ...]
    layouts: list[tuple[tuple[int, ...], np.dtype[Any], int, tuple[int, ...]]]
    kept: list[Any]

    def __call__(self, given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run them, and return what they wrote."""
        results = [new_result(*layout) for layout in self.layouts]
        execute(self.numbers, self.end, (*map(id, given), *map(id, results), *self.unused))
        return results


def execute(
    numbers: NDArray[np.int64], end: int | None = None, arrays: tuple[int, ...] = (0,) * OTHERS
) -> None:
    """Run tables, as they are or on other arrays; see ``run_tables``."""
    threads.run(run_tables, numbers, len(numbers) if end is None else end, arrays)
