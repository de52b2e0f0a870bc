"""Max-pooling of a convolution's output while it is in cache: see ``lazy.Pooled``."""

from __future__ import annotations

import numpy as np

from kernels.backends.numba.calls import (
    ORDER,
    ORDERED,
    PLACED,
    PLACES,
    POOLING,
    SHAPES,
    TARGET,
    WINNERS,
    bytes_at,
    pool_at,
    shape_at,
)
from kernels.backends.numba.jit import inlined, serial
from kernels.backends.numba.tails import load_valid, store_valid
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    at_address,
    constant,
    greater_or_nan,
    lanes,
    load_first,
    multiply,
    select,
    splat,
    store_first_integers,
    subtract,
    zeros,
)


@serial
def take_winners(target, first, row, pixels, c_from, c_to, call, s):
    """Pool those windows that lie in some whole rows of pixels, for some channels.

    ``target[first]`` is the first of them, ``row`` its number, counted through all images. 2 × 2
    windows over 28 × 28 pixels of 32 channels: 1.2 µs, with loops over taps of any number 2.4.
    """
    pool, C, width = pool_at(call[POOLING], 0), s.target_channels, lanes(target)
    usual = pool.kernel_rows == 2 and pool.kernel_columns == 2
    for number in range(row, row + pixels // s.target_columns):
        image, i = number // s.target_rows, number % s.target_rows // pool.stride_rows
        if number % s.target_rows % pool.stride_rows > 0 or i >= pool.rows:
            continue
        place = first + (number - row) * s.target_columns * C
        to = (image * pool.rows + i) * pool.columns * C
        for c in range(c_from, c_to, width):
            valid = min(width, c_to - c)
            if usual and valid == width:
                _take_row(target, place + c, to + c, c, width, 2, 2, call, s)
            else:
                taps = pool.kernel_rows, pool.kernel_columns
                _take_row(target, place + c, to + c, c, valid, *taps, call, s)


@inlined
def _take_row(target, place, to, c, valid, rows, columns, call, s):
    """Pool a row of windows of some taps, for a vector of channels."""
    pool, C = pool_at(call[POOLING], 0), s.target_channels
    winners, places = at_address(target, call[WINNERS]), bytes_at(call[PLACES], 0)
    down, across = pool.dilation_rows * s.target_columns * C, pool.dilation_columns * C
    step, placed = pool.stride_columns * C, call[PLACED] > 0
    order = _order(target, call, c, valid)
    for j in range(pool.columns):
        begin = place + j * step
        winner = load_valid(target, begin, valid)
        best, where = multiply(order, winner), splat(winner, np.int32(0))
        for p in range(rows):
            for q in range(columns):
                value = load_valid(target, begin + p * down + q * across, valid)
                key = multiply(order, value)
                wins = greater_or_nan(key, best)
                best, winner = select(wins, key, best), select(wins, value, winner)
                where = select(wins, splat(value, np.int32(p * columns + q)), where)
        store_valid(winners, to + j * C, winner, valid)
        if placed:
            store_first_integers(places, to + j * C, where, valid)


@serial
def _order(target, call, c, valid):
    """Return the sign of batch-norm's weights, by which it keeps the order of values or not."""
    one, zero = constant(zeros(target), 1.0), zeros(target)
    if call[ORDERED] == 0:
        return one
    weight = load_first(at_address(target, call[ORDER]), c, valid)
    up, down = greater_or_nan(weight, zero), greater_or_nan(zero, weight)
    return select(up, one, select(down, subtract(zero, one), zero))


def _take_image(work, call, image):
    """Pool an image whose bands end within windows, once all of it is there."""
    s = shape_at(call[SHAPES], 0)
    pixels = s.target_rows * s.target_columns
    first, target = image * pixels * s.target_channels, at_address(work, call[TARGET])
    take_winners(target, first, image * s.target_rows, pixels, 0, s.target_channels, call, s)


TAKE_WINNERS = Task(_take_image)
