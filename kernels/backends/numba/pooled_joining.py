"""Sums of a gradient that goes back through max-pooling, without unpooling it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import bytes_at, integers_at
from kernels.backends.numba.jit import inlined, serial
from kernels.backends.numba.maxima import (
    AXES,
    C_,
    N_,
    SMALL,
    TASKS,
    axes_at,
    axis_numbers,
    taps_inside,
    window_taps,
    windows_inside,
)
from kernels.backends.numba.memory import flat_input
from kernels.backends.numba.reduction import MOST_ROWS, added_up
from kernels.backends.numba.tails import load_valid, store_valid
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add,
    at_address,
    equal,
    lanes,
    load_first_integers,
    load_integers,
    multiply_add,
    select,
    splat,
    subtract,
    zeros,
)
from kernels.geometry import PoolGeometry
from kernels.lazy import NOWHERE, Sums

BANDS, ROWS, TAPS, X, GRAD, POSITION, MEAN, PARTS = range(AXES + 12, AXES + 20)
"""Entries after the axes; N_ is the number of partial sums here."""


def pooled_sums(
    grad_y: FloatArray,
    position: NDArray[np.uint8],
    x: FloatArray,
    mean: FloatArray,
    pool: PoolGeometry,
) -> Sums:
    """Return ``Σ g`` and ``Σ g · (x - mean)``, where g is ``grad_y`` at the maxima."""
    N, C = pool.batch, pool.channels
    OH, OW = pool.height.outputs, pool.width.outputs
    rows = max(1, MOST_ROWS // max(1, OW))
    bands = -(-OH // rows)
    parts = np.empty((N * bands, 2, C), x.dtype)
    tasks = len(parts) if x.size > SMALL else 1
    taps = window_taps(pool, True)
    entries = (
        *(len(parts), C, tasks, *axis_numbers(pool), bands, rows, taps, flat_input(x)),
        *(flat_input(grad_y), flat_input(position), flat_input(mean), parts.reshape(-1)),
    )
    run([Phase(BAND_SUMS, tasks, tasks)], entries, parts)
    return added_up(parts)


def _sum_bands(work, call, task):
    count, C, tasks, bands, rows = call[N_], call[C_], call[TASKS], call[BANDS], call[ROWS]
    height, width = axes_at(call)
    x, grad = at_address(work, call[X]), at_address(work, call[GRAD])
    mean, parts = at_address(work, call[MEAN]), at_address(work, call[PARTS])
    position, taps = bytes_at(call[POSITION], 0), integers_at(call[TAPS], 0)
    for band in range(task * count // tasks, (task + 1) * count // tasks):
        n, i = band // bands, band % bands * rows
        clear(parts, 2 * band * C, 2 * C)
        for row in range(i, min(i + rows, height[5])):
            _sum_row(grad, position, x, mean, n, row, C, height, width, taps, parts, band)


@serial
def _sum_row(grad, position, x, mean, n, i, C, height, width, taps, parts, band):
    """Add a row of windows to the sums of its band."""
    KH, W, KW, OW = height[1], width[0], width[1], width[5]
    top = i * height[2] - height[4]
    p, p_end = taps_inside(top, height)
    begin, end = windows_inside(width)
    for j in range(OW):
        left = j * width[2] - width[4]
        q, q_end = 0, KW
        if j < begin or j >= end:
            q, q_end = taps_inside(left, width)
        inside = p_end - p == KH and q_end - q == KW
        window = (n * height[0] + top) * W + left
        pooled = ((n * height[5] + i) * OW + j) * C
        for c in range(0, C, lanes(x)):
            valid = min(lanes(x), C - c)
            centre = load_valid(mean, c, valid)
            where = _positions(position, pooled + c, x, valid)
            winner = centre
            if inside:
                for tap in range(KH * KW):
                    value = load_valid(x, (window + taps[tap]) * C + c, valid)
                    winner = _if_here(where, tap, value, winner)
            else:
                for row in range(p, p_end):
                    for tap in range(row * KW + q, row * KW + q_end):
                        value = load_valid(x, (window + taps[tap]) * C + c, valid)
                        winner = _if_here(where, tap, value, winner)
            nowhere = equal(where, splat(where, np.int32(NOWHERE)))
            g = select(nowhere, zeros(x), load_valid(grad, pooled + c, valid))
            to = 2 * band * C + c
            store_valid(parts, to, add(load_valid(parts, to, valid), g), valid)
            product = load_valid(parts, to + C, valid)
            product = multiply_add(g, subtract(winner, centre), product)
            store_valid(parts, to + C, product, valid)


@inlined
def _if_here(where, tap, value, winner):
    return select(equal(where, splat(where, np.int32(tap))), value, winner)


@inlined
def _positions(position, at, x, valid):
    if valid == lanes(x):
        return load_integers(position, at, zeros(x))
    return load_first_integers(position, at, zeros(x), valid)


BAND_SUMS = Task(_sum_bands)
