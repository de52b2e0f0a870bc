"""Max-pooling, average-pooling and their gradients, a vector of channels at a time."""

from __future__ import annotations

import numba
import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.averaging import window_sums
from kernels.backends.numba.jit import keep_to, parallel, restore, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.scattering import scatter_images
from kernels.backends.numba.tails import load_valid, store_valid
from kernels.backends.numba.vector import (
    greater_or_nan,
    lanes,
    select,
    splat,
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
        _max_rows(flat_input(x), y, places, N, C, tasks, *axes)


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
def _max_rows(x, y, places, N, C, tasks, height, width):
    team = keep_to(tasks)
    rows = N * height[5]
    for task in numba.prange(tasks):
        for row in range(task * rows // tasks, (task + 1) * rows // tasks):
            _max_row(x, y, places, row // height[5], row % height[5], C, height, width)
    restore(team)


@serial
def _max_row(x, y, places, n, i, C, height, width):
    H, OH, W, OW = height[0], height[5], width[0], width[5]
    whole = C - C % lanes(x)
    h, h_end = taps_inside(i, height)
    for j in range(OW):
        w, w_end = taps_inside(j, width)
        target = ((n * OH + i) * OW + j) * C
        image = n * H * W * C
        for c in range(0, whole, lanes(x)):
            best, place = _max_window(x, image + c, C, h, h_end, w, w_end, height, width, lanes(x))
            store_valid(y, target + c, best, lanes(x))
            store_integers(places, target + c, place)
        if whole < C:
            valid = C - whole
            best, place = _max_window(
                x, image + whole, C, h, h_end, w, w_end, height, width, valid
            )
            store_first(y, target + whole, best, valid)
            store_first(places, target + whole, place, valid)


@serial
def taps_inside(i, axis):
    """Return where on the axis the first tap inside the image is, and where the last one ends."""
    size, kernel, stride, dilation, before, _ = axis
    first = i * stride - before
    end = min(first + (kernel - 1) * dilation + 1, size)
    if first < 0:
        first += (dilation - 1 - first) // dilation * dilation
    return first, end


@serial
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
