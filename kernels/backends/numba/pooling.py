"""Max-pooling, average-pooling and their gradients, a vector of channels at a time."""

from __future__ import annotations

import functools

import numba
import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.averaging import window_sums
from kernels.backends.numba.jit import inlined, keep_to, parallel, restore, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.scattering import scatter_images
from kernels.backends.numba.tails import load_valid, store_valid
from kernels.backends.numba.vector import (
    add_integers,
    greater_or_nan,
    lanes,
    load,
    select,
    splat,
    store,
    store_first,
    store_integers,
)
from kernels.geometry import Axis, PoolGeometry

SMALL = 32768
"""Elements of the images up to which one thread does the work."""


def max_pool2d(
    x: FloatArray, geometry: PoolGeometry, *, out: FloatArray, indices: IntArray
) -> None:
    """Compare the taps of each window in row-major order with the best so far."""
    axes = tuple(
        (a.size, a.kernel, a.stride, a.dilation, a.before, a.outputs)
        for a in (geometry.height, geometry.width)
    )
    N, C = geometry.batch, geometry.channels
    tasks = N * geometry.height.outputs if x.size > SMALL else 1
    with FlatOutput(out) as y, FlatOutput(indices) as places:
        _max_rows(flat_input(x), y, places, N, C, tasks, *axes, _taps(geometry))


@functools.lru_cache(maxsize=64)
def _taps(geometry: PoolGeometry) -> IntArray:
    """Return where a window's taps are in the plane, from the first."""
    height, width = geometry.height, geometry.width
    rows = np.arange(height.kernel) * height.dilation * width.size
    taps = np.add.outer(rows, np.arange(width.kernel) * width.dilation).reshape(-1)
    taps.flags.writeable = False
    return taps


def max_pool2d_backward(grad_y: FloatArray, indices: IntArray, *, out: FloatArray) -> None:
    """Write each image's gradients to their places."""
    places = flat_input(indices.astype(np.int32, copy=False))
    with FlatOutput(out) as grad_x:
        scatter_images(flat_input(grad_y), places, grad_x, out.shape, grad_y.shape)


def avg_pool2d(
    x: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """Gather each output from the inputs under its window."""
    window_sums(x, geometry, count_include_pad, divisor_override, False, out)


def avg_pool2d_backward(
    grad_y: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """Gather each input's gradient from the outputs of the windows over it."""
    window_sums(grad_y, geometry, count_include_pad, divisor_override, True, out)


def global_avg_pool2d(x: FloatArray, *, out: FloatArray) -> None:
    """Gather each output from its whole plane."""
    window_sums(x, _whole_planes(x.shape), True, None, False, out)


def global_avg_pool2d_backward(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Gather each input's gradient from its plane's output."""
    window_sums(grad_y, _whole_planes(out.shape), True, None, True, out)


def _whole_planes(shape: tuple[int, ...]) -> PoolGeometry:
    N, C, H, W = shape
    return PoolGeometry(N, C, Axis(H, H, 1, 1, 0, 0, 1), Axis(W, W, 1, 1, 0, 0, 1))


@parallel
def _max_rows(x, y, places, N, C, tasks, height, width, taps):
    team = keep_to(tasks)
    rows = N * height[5]
    for task in numba.prange(tasks):
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            _max_row(x, y, places, row // height[5], row % height[5], C, height, width, taps)
    restore(team)


@serial
def _max_row(x, y, places, n, i, C, height, width, taps):
    """Take windows inside the image two vectors at a time, the others tap by tap."""
    H, W, OW = height[0], width[0], width[5]
    image, target = n * H * W * C, (n * height[5] + i) * OW * C
    h, h_end = taps_inside(i, height)
    begin = end = 0
    if C % lanes(x) == 0 and h_end - h == (height[1] - 1) * height[3] + 1:
        begin, end = windows_inside(width)
    _max_of_pairs(x, y, places, image, h * W, target, begin, end, C, width, taps)
    for j in range(OW):
        if begin <= j < end:
            continue
        w, w_end = taps_inside(j, width)
        for c in range(0, C, lanes(x)):
            valid = min(lanes(x), C - c)
            best, place = _max_window(x, image + c, C, h, h_end, w, w_end, height, width, valid)
            store_valid(y, target + j * C + c, best, valid)
            store_first(places, target + j * C + c, place, valid)


@serial
def _max_of_pairs(x, y, places, image, line, target, begin, end, C, width, taps):
    """Do the windows from ``begin`` to ``end``: two vectors of the output at a time.

    Two chains of comparisons at once: 2 × 2 windows of 32 channels took 101 µs with one, ... with
    two.
    """
    stride, before, L = width[2], width[4], lanes(x)
    j, c = begin, 0
    for at in range(target + begin * C, target + end * C, 2 * L):
        place = line + j * stride - before
        first = image + place * C + c
        c += L
        if c == C:
            j, c = j + 1, 0
        next_place, next_first = place, first
        if j < end:
            next_place = line + j * stride - before
            next_first = image + next_place * C + c
        best, next_best = load(x, first), load(x, next_first)
        where = other = splat(best, np.int32(0))
        for tap in range(1, len(taps)):
            values, next_values = (
                load(x, first + taps[tap] * C),
                load(x, next_first + taps[tap] * C),
            )
            here = splat(best, np.int32(taps[tap]))
            wins, next_wins = greater_or_nan(values, best), greater_or_nan(next_values, next_best)
            best, next_best = select(wins, values, best), select(next_wins, next_values, next_best)
            where, other = select(wins, here, where), select(next_wins, here, other)
        store(y, at, best)
        store_integers(places, at, add_integers(where, splat(best, np.int32(place))))
        if j < end:
            store(y, at + L, next_best)
            store_integers(places, at + L, add_integers(other, splat(best, np.int32(next_place))))
            c += L
            if c == C:
                j, c = j + 1, 0


@serial
def windows_inside(axis):
    """Return from where to where windows have all taps inside the image."""
    size, kernel, stride, dilation, before, outputs = axis
    begin = (before + stride - 1) // stride
    end = (size + before - (kernel - 1) * dilation - 1) // stride + 1
    return min(begin, outputs), max(min(begin, outputs), min(end, outputs))


@inlined
def taps_inside(i, axis):
    """Return where on the axis the first tap inside the image is, and where the last one ends."""
    size, kernel, stride, dilation, before, _ = axis
    first = i * stride - before
    end = min(first + (kernel - 1) * dilation + 1, size)
    if first < 0:
        first += (dilation - 1 - first) // dilation * dilation
    return first, end


@inlined
def _max_window(x, image, C, h_begin, h_end, w_begin, w_end, height, width, valid):
    W, h_step, w_step = width[0], height[3], width[3]
    best = load_valid(x, image + (h_begin * W + w_begin) * C, valid)
    place = splat(best, np.int32(h_begin * W + w_begin))
    w_first = w_begin + w_step  # the first tap is there already
    for h in range(h_begin, h_end, h_step):
        for w in range(w_first, w_end, w_step):
            values = load_valid(x, image + (h * W + w) * C, valid)
            wins = greater_or_nan(values, best)
            best = select(wins, values, best)
            place = select(wins, splat(best, np.int32(h * W + w)), place)
        w_first = w_begin
    return best, place
