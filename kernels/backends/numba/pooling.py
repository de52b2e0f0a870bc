"""Max-pooling and its gradient, a vector of channels at a time."""

from __future__ import annotations

import numba
import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.blocks import clear
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.vector import (
    greater_or_nan,
    lanes,
    load_first,
    select,
    splat,
    store_first,
    zeros,
)
from kernels.geometry import PoolGeometry


def max_pool2d(
    x: FloatArray, geometry: PoolGeometry, *, out: FloatArray, indices: IntArray
) -> None:
    """Compare the taps of each window in row-major order with the best so far."""
    axes = tuple(
        (a.size, a.kernel, a.stride, a.dilation, a.before, a.outputs)
        for a in (geometry.height, geometry.width)
    )
    with FlatOutput(out) as y, FlatOutput(indices) as places:
        _max_rows(flat_input(x), y, places, geometry.batch, geometry.channels, *axes)


def max_pool2d_backward(grad_y: FloatArray, indices: IntArray, *, out: FloatArray) -> None:
    """Clear each image and add the gradients at their places."""
    N, C = out.shape[:2]
    places = flat_input(indices.astype(np.int32, copy=False))
    with FlatOutput(out) as grad_x:
        _scatter_images(flat_input(grad_y), places, grad_x, N, C)


@parallel
def _max_rows(x, y, places, N, C, height, width):
    OH = height[5]
    for task in numba.prange(N * OH):
        _max_row(x, y, places, task // OH, task % OH, C, height, width)


@serial
def _max_row(x, y, places, n, i, C, height, width):
    H, W, OH, OW = height[0], width[0], height[5], width[5]
    _, _, h_stride, _, h_before, _ = height
    _, _, w_stride, _, w_before, _ = width
    h = i * h_stride - h_before
    for j in range(OW):
        target = ((n * OH + i) * OW + j) * C
        for c in range(0, C, lanes(x)):
            valid = min(lanes(x), C - c)
            w = j * w_stride - w_before
            best, place = _max_window(x, n * H * W * C + c, C, h, w, height, width, valid)
            store_first(y, target + c, best, valid)
            store_first(places, target + c, place, valid)


@serial
def _max_window(x, start, C, h_first, w_first, height, width, valid):
    H, KH, _, h_dilation, _, _ = height
    W, KW, _, w_dilation, _, _ = width
    h_inside = h_first - min(h_first, 0) // h_dilation * h_dilation
    w_inside = w_first - min(w_first, 0) // w_dilation * w_dilation
    best = splat(zeros(x), x.dtype.type(-np.inf))
    place = splat(best, np.int32(h_inside * W + w_inside))
    for p in range(KH):
        h = h_first + p * h_dilation
        if h < 0 or h >= H:
            continue
        for q in range(KW):
            w = w_first + q * w_dilation
            if w < 0 or w >= W:
                continue
            here = splat(best, np.int32(h * W + w))
            values = load_first(x, start + (h * W + w) * C, valid)
            wins = greater_or_nan(values, best)
            best = select(wins, values, best)
            place = select(wins, here, place)
    return best, place


@parallel
def _scatter_images(grad, places, out, N, C):
    for n in numba.prange(N):
        _scatter_image(grad, places, out, n, len(grad) // N, len(out) // N, C)


@serial
def _scatter_image(grad, places, out, n, pooled, image, C):
    clear(out, n * image, image)
    for first in range(n * pooled, (n + 1) * pooled, C):
        for c in range(C):
            out[n * image + places[first + c] * C + c] += grad[first + c]
