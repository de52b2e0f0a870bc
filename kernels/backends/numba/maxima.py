"""The largest value of each window, and which one it is: max-pooling, alone or fused.

Fused, the values are ``Σ scale · (x - mean) + shift`` over one or two arrays, computed as they are
loaded, and ReLU follows. What is None when a task is compiled costs nothing.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.calls import bytes_at, integers32_at, integers_at
from kernels.backends.numba.jit import inlined, serial
from kernels.backends.numba.tails import load_valid, store_valid
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add,
    add_integers,
    at_address,
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

N_, C_, TASKS, AXES = range(4)
TAP_COUNT, TAPS, X, Y, PLACES, PLACED, TABLE, OTHER, RELU = range(15, 24)
"""Entries; there are twelve from AXES on."""

SMALL = 32768
"""Elements of the images up to which one thread does the work."""


def axis_numbers(geometry: PoolGeometry) -> tuple[int, ...]:
    """Return for both axes size, kernel, stride, dilation, padding before, outputs."""
    h, w = geometry.height, geometry.width
    return (
        *(h.size, h.kernel, h.stride, h.dilation, h.before, h.outputs),
        *(w.size, w.kernel, w.stride, w.dilation, w.before, w.outputs),
    )


@functools.lru_cache(maxsize=64)
def window_taps(geometry: PoolGeometry, numbered: bool) -> IntArray:
    """Return each tap's distance from a window's first in the plane, then what it is called.

    That is its number in the window, or that distance again.
    """
    height, width = geometry.height, geometry.width
    rows = np.arange(height.kernel) * height.dilation * width.size
    taps = np.add.outer(rows, np.arange(width.kernel) * width.dilation).reshape(-1)
    return np.concatenate([taps, np.arange(len(taps)) if numbered else taps])


def write_maxima(
    x: FloatArray,
    y: FloatArray,
    geometry: PoolGeometry,
    indices: IntArray,
) -> None:
    """Write maxima of flat x, and their places in the plane."""
    _run(MAXIMA, geometry, False, x, y, indices, True, None, None, False)


def write_read_maxima(
    x: FloatArray,
    other: FloatArray | None,
    table: FloatArray,
    relu: bool,
    geometry: PoolGeometry,
    y: FloatArray,
    taps: NDArray[np.uint8] | None,
) -> None:
    """Write maxima of what is read of one or two flat arrays, and the numbers of their taps.

    ``table`` has rows of mean, scale and shift for each array.
    """
    task = READ_MAXIMA if other is None else SUM_MAXIMA
    _run(task, geometry, True, x, y, taps, taps is not None, table, other, relu)


def _run(task: Task, geometry: PoolGeometry, numbered: bool, x: FloatArray, *more: Any) -> None:
    N, C = geometry.batch, geometry.channels
    tasks = N * geometry.height.outputs if x.size > SMALL else 1
    entries = (
        *(N, C, tasks, *axis_numbers(geometry), geometry.height.kernel * geometry.width.kernel),
        *(window_taps(geometry, numbered), x, *more),
    )
    run([Phase(task, tasks, tasks)], entries, x)


def _maxima(work, call, task):
    places, x = integers32_at(call[PLACES], 0), at_address(work, call[X])
    _maxima_of_task(x, None, None, places, work, call, task)


def _read_maxima(work, call, task):
    places, x = bytes_at(call[PLACES], 0), at_address(work, call[X])
    _maxima_of_task(x, None, at_address(work, call[TABLE]), places, work, call, task)


def _sum_maxima(work, call, task):
    places, x = bytes_at(call[PLACES], 0), at_address(work, call[X])
    table, other = at_address(work, call[TABLE]), at_address(work, call[OTHER])
    _maxima_of_task(x, other, table, places, work, call, task)


@inlined
def axes_at(call):
    """Return the numbers of both axes."""
    height = call[AXES], call[AXES + 1], call[AXES + 2], call[AXES + 3], call[AXES + 4]
    width = call[AXES + 6], call[AXES + 7], call[AXES + 8], call[AXES + 9], call[AXES + 10]
    return (*height, call[AXES + 5]), (*width, call[AXES + 11])


@serial
def _maxima_of_task(x, other, table, places, work, call, task):
    height, width = axes_at(call)
    OH, N, tasks = height[5], call[N_], call[TASKS]
    taps, y = integers_at(call[TAPS], 0), at_address(work, call[Y])
    for row in range(task * N * OH // tasks, (task + 1) * N * OH // tasks):
        _maxima_of_row(
            x, other, table, y, places, row // OH, row % OH, call[C_], height, width, taps,
            call[TAP_COUNT], call[PLACED] > 0, call[RELU] > 0,
        )  # fmt: skip


@serial
def _maxima_of_row(x, other, table, y, places, n, i, C, height, width, taps, count, placed, relu):
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
        x, other, table, y, places, image, line, target, begin, end, C, width[2], taps,
        count, placed, relu,
    )  # fmt: skip
    for j in range(OW):
        if begin <= j < end:
            continue
        left = j * width[2] - width[4]
        q, q_end = taps_inside(left, width)
        place = top * W + left
        for c in range(0, C, lanes(x)):
            valid = min(lanes(x), C - c)
            best = load_value(x, other, table, image + place + taps[p * width[1] + q], c, C, valid)
            where = splat(best, np.int32(taps[count + p * width[1] + q]))
            first = p * width[1] + q
            for row in range(p, p_end):
                for tap in range(row * width[1] + q, row * width[1] + q_end):
                    if tap > first:
                        at = image + place + taps[tap]
                        value = load_value(x, other, table, at, c, C, valid)
                        best, where = _better(value, taps, count, tap, best, where)
            best, where = _finished(best, where, place, table, relu, zeros(x))
            store_valid(y, target + j * C + c, best, valid)
            if placed:
                store_first_integers(places, target + j * C + c, where, valid)


@serial
def _maxima_of_pairs(
    x, other, table, y, places, image, line, target, begin, end, C, stride, taps, count,
    placed, relu,
):  # fmt: skip
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
        for tap in range(1, count):
            value = load_value(x, other, table, image + place + taps[tap], channel, C, L)
            best, where = _better(value, taps, count, tap, best, where)
            value = load_value(x, other, table, image + next_place + taps[tap], next_channel, C, L)
            next_best, next_where = _better(value, taps, count, tap, next_best, next_where)
        best, where = _finished(best, where, place, table, relu, zeros(x))
        store(y, at, best)
        if placed:
            store_integers(places, at, where)
        if both:
            best, where = _finished(next_best, next_where, next_place, table, relu, zeros(x))
            store(y, at + L, best)
            if placed:
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
def _better(value, taps, count, tap, best, where):
    wins = greater_or_nan(value, best)
    here = splat(best, np.int32(taps[count + tap]))
    return select(wins, value, best), select(wins, here, where)


@inlined
def _finished(best, where, place, table, relu, nothing):
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


MAXIMA, READ_MAXIMA, SUM_MAXIMA = Task(_maxima), Task(_read_maxima), Task(_sum_maxima)
