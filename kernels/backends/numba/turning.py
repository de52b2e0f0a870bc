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
    turn_part(
        source, first + begin * columns, columns, target, first + begin, rows, end - begin, columns
    )


@serial
def turn_part(source, at, step, target, to, to_step, rows, columns):
    """Write a part of a matrix turned over, whose rows are ``step`` apart, and then ``to_step``.

    It is done in squares, which overlap at the edges, or one by one where it is narrower than that.
    """
    width = lanes(source)
    if rows < width or columns < width:
        for c in range(columns):
            for r in range(rows):
                target[to + c * to_step + r] = source[at + r * step + c]
        return
    for r in range(0, rows, width):
        row = min(r, rows - width)
        for c in range(0, columns, width):
            column = min(c, columns - width)
            first = at + row * step + column
            turn_square(source, first, step, target, to + column * to_step + row, to_step)


TURN = Task(_turn_band)
