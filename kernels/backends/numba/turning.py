"""Matrices turned over: images from (C, H·W) to (H·W, C) and back."""

from __future__ import annotations

import numba

from kernels.backends.numba.jit import keep_to, parallel, restore, serial
from kernels.backends.numba.vector import lanes, turn_square

SMALL = 32768
"""Elements up to which one thread does the work."""


@parallel
def turn(source, target, N, rows, columns):
    """Write each of ``N`` matrices of ``rows`` × ``columns`` as ``columns`` × ``rows``."""
    bands = -(-rows // lanes(source))
    tasks = N * bands
    team = keep_to(tasks if len(source) > SMALL else 1)
    for task in numba.prange(tasks):
        _turn_band(source, target, task // bands * rows * columns, task % bands, rows, columns)
    restore(team)


@serial
def _turn_band(source, target, first, band, rows, columns):
    """Do as many rows as a vector has lanes, square by square, what is left one by one."""
    width = lanes(source)
    begin, end = band * width, min(band * width + width, rows)
    whole = columns - columns % width if end - begin == width else 0
    for c in range(0, whole, width):
        at, to = first + begin * columns + c, first + c * rows + begin
        turn_square(source, at, columns, target, to, rows)
    for c in range(whole, columns):
        for r in range(begin, end):
            target[first + c * rows + r] = source[first + r * columns + c]
