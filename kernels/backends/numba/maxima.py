"""The largest value of each window, and which one it is: max-pooling, alone or fused.

Fused, the values are ``Σ scale · (x - mean) + shift`` over one or two arrays, computed as they are
loaded, and ReLU follows. What is None when the driver is compiled costs nothing.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from kernels.backends.contract import IntArray
from kernels.backends.numba.jit import inlined, keep_to, parallel, restore, serial
from kernels.backends.numba.tails import load_valid, store_valid
from kernels.backends.numba.vector import (
    add,
    add_integers,
    greater_or_nan,
    lanes,
    multiply_add,
    select,
    splat,
    store,
    store_first_integers,
    store_integers,
    subtract,
    zeros,
)
from kernels.geometry import PoolGeometry
from kernels.lazy import NOWHERE

AxisNumbers = tuple[int, int, int, int, int, int]

SMALL = 32768
"""Elements of the images up to which one thread does the work."""


def axis_numbers(geometry: PoolGeometry) -> tuple[AxisNumbers, AxisNumbers]:
    """Return for both axes size, kernel, stride, dilation, padding before, outputs."""
    h, w = geometry.height, geometry.width
    return (
        (h.size, h.kernel, h.stride, h.dilation, h.before, h.outputs),
        (w.size, w.kernel, w.stride, w.dilation, w.before, w.outputs),
    )


@functools.lru_cache(maxsize=64)
def window_taps(geometry: PoolGeometry, numbered: bool) -> IntArray:
    """Return each tap's distance from a window's first in the plane, then what it is called.

    That is its number in the window, or that distance again.
    """
    height, width = geometry.height, geometry.width
    rows = np.arange(height.kernel) * height.dilation * width.size
    taps = np.add.outer(rows, np.arange(width.kernel) * width.dilation).reshape(-1)
    table = np.concatenate([taps, np.arange(len(taps)) if numbered else taps])
    table.flags.writeable = False
    return table


@parallel
def write_maxima(x, other, table, y, places, N, C, tasks, height, width, taps, relu):
    """Write maxima and places: flat in the plane, or with a ``table`` the tap's number."""
    team = keep_to(tasks)
    OH = height[5]
    for task in numba.prange(tasks):
        for row in range(task * N * OH // tasks, (task + 1) * N * OH // tasks):
            n, i = row // OH, row % OH
            _maxima_of_row(x, other, table, y, places, n, i, C, height, width, taps, relu)
    restore(team)


@serial
def _maxima_of_row(x, other, table, y, places, n, i, C, height, width, taps, relu):
    """Take windows inside the image two vectors at a time, the others tap by tap."""
    H, KH, W, OW = height[0], height[1], width[0], width[5]
    top = i * height[2] - height[4]
    image, target = n * H * W, (n * height[5] + i) * OW * C
    p, p_end = taps_inside(top, height)
    begin = end = 0
    if C % lanes(x) == 0 and p_end - p == KH:
        begin, end = windows_inside(width)
    line = top * W - width[4]
    _maxima_of_pairs(
        x, other, table, y, places, image, line, target, begin, end, C, width[2], taps, relu
    )
    for j in range(OW):
        if begin <= j < end:
            continue
        left = j * width[2] - width[4]
        q, q_end = taps_inside(left, width)
        place = top * W + left
        for c in range(0, C, lanes(x)):
            valid = min(lanes(x), C - c)
            best = load_value(x, other, table, image + place + taps[p * width[1] + q], c, C, valid)
            where = splat(best, np.int32(taps[len(taps) // 2 + p * width[1] + q]))
            first = p * width[1] + q
            for row in range(p, p_end):
                for tap in range(row * width[1] + q, row * width[1] + q_end):
                    if tap > first:
                        at = image + place + taps[tap]
                        value = load_value(x, other, table, at, c, C, valid)
                        best, where = _better(value, taps, tap, best, where)
            best, where = _finished(best, where, place, table, relu, zeros(x))
            store_valid(y, target + j * C + c, best, valid)
            if len(places):
                store_first_integers(places, target + j * C + c, where, valid)


@serial
def _maxima_of_pairs(
    x, other, table, y, places, image, line, target, begin, end, C, stride, taps, relu
):
    """Do the windows from ``begin`` to ``end``: two vectors of the output at a time.

    With two chains of comparisons at once, 2 × 2 windows over (32, 32, 28, 28) took 61 µs, with
    one 101 µs (float32, 2 threads).
    """
    j, c, L = begin, 0, lanes(x)
    for at in range(target + begin * C, target + end * C, 2 * L):
        place, channel = line + j * stride, c
        c += L
        if c == C:
            j, c = j + 1, 0
        both = j < end
        next_place, next_channel = line + j * stride, c
        if not both:
            next_place, next_channel = place, channel
        best = load_value(x, other, table, image + place, channel, C, L)
        next_best = load_value(x, other, table, image + next_place, next_channel, C, L)
        where = next_where = splat(best, np.int32(0))
        for tap in range(1, len(taps) // 2):
            value = load_value(x, other, table, image + place + taps[tap], channel, C, L)
            best, where = _better(value, taps, tap, best, where)
            value = load_value(x, other, table, image + next_place + taps[tap], next_channel, C, L)
            next_best, next_where = _better(value, taps, tap, next_best, next_where)
        best, where = _finished(best, where, place, table, relu, zeros(x))
        store(y, at, best)
        if len(places):
            store_integers(places, at, where)
        if both:
            best, where = _finished(next_best, next_where, next_place, table, relu, zeros(x))
            store(y, at + L, best)
            if len(places):
                store_integers(places, at + L, where)
            c += L
            if c == C:
                j, c = j + 1, 0


@inlined
def load_value(x, other, table, pixel, c, C, valid):
    """Load a vector of channels from one pixel, as it is read."""
    value = load_valid(x, pixel * C + c, valid)
    if table is None:
        return value
    value = _affine(value, table, c, C, valid)
    if other is None:
        return value
    return add(value, _affine(load_valid(other, pixel * C + c, valid), table, 3 * C + c, C, valid))


@inlined
def _affine(value, table, at, C, valid):
    centred = subtract(value, load_valid(table, at, valid))
    scale, shift = load_valid(table, at + C, valid), load_valid(table, at + 2 * C, valid)
    return multiply_add(scale, centred, shift)


@inlined
def _better(value, taps, tap, best, where):
    wins = greater_or_nan(value, best)
    here = splat(best, np.int32(taps[len(taps) // 2 + tap]))
    return select(wins, value, best), select(wins, here, where)


@inlined
def _finished(best, where, place, table, relu, nothing):
    # An array instead of zeros would have its references counted in this branch, atomically:
    # 170 µs for a join of (32, 32, 28, 28), 110 without.
    if table is None:
        return best, add_integers(where, splat(best, np.int32(place)))
    if relu:
        is_open = greater_or_nan(best, nothing)
        best = select(is_open, best, nothing)
        where = select(is_open, where, splat(best, np.int32(NOWHERE)))
    return best, where


@inlined
def taps_inside(first, axis):
    """Return the first tap that is inside the image, and the one after the last."""
    size, kernel, _, dilation, _, _ = axis
    begin = 0
    if first < 0:
        begin = (dilation - 1 - first) // dilation
    return begin, min(kernel, (size - 1 - first) // dilation + 1)


@serial
def windows_inside(axis):
    """Return from where to where windows have all taps inside the image."""
    size, kernel, stride, dilation, before, outputs = axis
    begin = min((before + stride - 1) // stride, outputs)
    room = size - 1 + before - (kernel - 1) * dilation
    end = 0
    if room >= 0:
        end = min(room // stride + 1, outputs)
    return begin, max(begin, end)
