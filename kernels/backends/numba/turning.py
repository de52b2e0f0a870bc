"""Matrices turned over: images from (C, H·W) to (H·W, C) and back."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from kernels.backends.numba.jit import serial
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import at_address, lanes, turn_square

SMALL = 32768
"""Elements up to which one thread does the work."""

BAND = 16
"""Rows in a task, whole vectors."""

SOURCE, TARGET, BANDS, ROWS, COLUMNS = range(5)


def turn(source: NDArray[Any], target: NDArray[Any], N: int, rows: int, columns: int) -> None:
    """Write each of ``N`` matrices of ``rows`` × ``columns`` as ``columns`` × ``rows``."""
    bands = -(-rows // BAND)
    tasks = N * bands
    team = tasks if source.size > SMALL else 1
    run([Phase(TURN, tasks, team)], (source, target, bands, rows, columns), target)


def _turn_band(work, call, task):
    source, target = at_address(work, call[SOURCE]), at_address(work, call[TARGET])
    rows, columns = call[ROWS], call[COLUMNS]
    first, begin = task // call[BANDS] * rows * columns, task % call[BANDS] * BAND
    end = min(begin + BAND, rows)
    for r in range(begin, end, lanes(source)):
        _turn_rows(source, target, first, r, min(r + lanes(source), end), rows, columns)


@serial
def _turn_rows(source, target, first, begin, end, rows, columns):
    """Do as many rows as a vector has lanes, square by square, what is left one by one."""
    width = lanes(source)
    whole = columns - columns % width if end - begin == width else 0
    for c in range(0, whole, width):
        at, to = first + begin * columns + c, first + c * rows + begin
        turn_square(source, at, columns, target, to, rows)
    for c in range(whole, columns):
        for r in range(begin, end):
            target[first + c * rows + r] = source[first + r * columns + c]


TURN = Task(_turn_band)
