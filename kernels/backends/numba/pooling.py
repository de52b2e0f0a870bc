"""Max-pooling, average-pooling and their gradients, a vector of channels at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.blocks import clear
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.vector import (
    greater_or_nan,
    lanes,
    load_first,
    multiply,
    multiply_add,
    select,
    splat,
    store_first,
    zeros,
)
from kernels.geometry import Axis, PoolGeometry


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


def avg_pool2d(
    x: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """Gather each output from the inputs under its window."""
    axes = [
        _forward_sums(begins, ends, weights.astype(x.dtype), axis.size)
        for axis, begins, ends, weights in _windows(geometry, count_include_pad, divisor_override)
    ]
    with FlatOutput(out) as y:
        _sum_rows(flat_input(x), y, geometry.batch, geometry.channels, *axes)


def avg_pool2d_backward(
    grad_y: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """Gather each input's gradient from the outputs of the windows over it."""
    axes = [
        _backward_sums(begins, ends, weights.astype(out.dtype), axis.size)
        for axis, begins, ends, weights in _windows(geometry, count_include_pad, divisor_override)
    ]
    with FlatOutput(out) as grad_x:
        _sum_rows(flat_input(grad_y), grad_x, geometry.batch, geometry.channels, *axes)


def global_avg_pool2d(x: FloatArray, *, out: FloatArray) -> None:
    """Gather each output from its whole plane."""
    avg_pool2d(x, _whole_planes(x.shape), True, None, out=out)


def global_avg_pool2d_backward(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Gather each input's gradient from its plane's output."""
    avg_pool2d_backward(grad_y, _whole_planes(out.shape), True, None, out=out)


def _whole_planes(shape: tuple[int, ...]) -> PoolGeometry:
    N, C, H, W = shape
    return PoolGeometry(N, C, Axis(H, H, 1, 1, 0, 0, 1), Axis(W, W, 1, 1, 0, 0, 1))


class _Sums(NamedTuple):
    """One axis of weighted sums: target t is ``target_weights[t] · Σ source_weights[s] · s``.

    The sources s go from ``begins[t]`` to ``ends[t] - 1``.
    """

    begins: NDArray[Any]
    ends: NDArray[Any]
    source_weights: NDArray[Any]
    target_weights: NDArray[Any]


def _windows(
    geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> Iterator[tuple[Axis, NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Yield for each axis where its windows begin and end in the image, and their weights.

    The product of a row's and a column's weight is 1 / D.
    """
    for number, axis in enumerate((geometry.height, geometry.width)):
        start = np.arange(axis.outputs) * axis.stride - axis.before
        begins, ends = np.maximum(start, 0), np.minimum(start + axis.kernel, axis.size)
        counts = ends - begins
        if divisor_override is not None:
            counts[:] = divisor_override if number == 0 else 1
        elif count_include_pad:
            counts = np.minimum(start + axis.kernel, axis.size + axis.after) - start
        yield axis, begins, ends, 1.0 / counts


def _forward_sums(
    begins: NDArray[Any], ends: NDArray[Any], weights: NDArray[Any], size: int
) -> _Sums:
    return _Sums(begins, ends, np.ones(size, weights.dtype), weights)


def _backward_sums(
    begins: NDArray[Any], ends: NDArray[Any], weights: NDArray[Any], size: int
) -> _Sums:
    """Turn the windows round: over which of them each element of the image lies."""
    places = np.arange(size)
    first = np.searchsorted(ends, places, side="right")
    last = np.searchsorted(begins, places, side="right")
    return _Sums(first, last, weights, np.ones(size, weights.dtype))


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


@parallel
def _sum_rows(source, target, N, C, rows, columns):
    height = len(rows.begins)
    for task in numba.prange(N * height):
        _sum_row(source, target, task // height, task % height, C, rows, columns)


@serial
def _sum_row(source, target, n, i, C, rows, columns):
    source_height, source_width = len(rows.source_weights), len(columns.source_weights)
    height, width = len(rows.begins), len(columns.begins)
    for j in range(width):
        for c in range(0, C, lanes(source)):
            valid = min(lanes(source), C - c)
            total = zeros(source)
            for p in range(rows.begins[i], rows.ends[i]):
                row = (n * source_height + p) * source_width
                line = zeros(source)  # a sum of its own: errors grow with H + W, not with H·W
                for q in range(columns.begins[j], columns.ends[j]):
                    values = load_first(source, (row + q) * C + c, valid)
                    line = multiply_add(splat(line, columns.source_weights[q]), values, line)
                total = multiply_add(splat(total, rows.source_weights[p]), line, total)
            weight = splat(total, rows.target_weights[i] * columns.target_weights[j])
            place = ((n * height + i) * width + j) * C + c
            store_first(target, place, multiply(weight, total), valid)
