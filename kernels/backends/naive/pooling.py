"""Max-pooling, average-pooling and their gradients, index by index."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.naive.memory import scalars
from kernels.geometry import Axis, PoolGeometry


def max_pool2d(
    x: FloatArray, geometry: PoolGeometry, *, out: FloatArray, indices: IntArray
) -> None:
    """The first of the largest elements of each window, or the last NaN."""
    image = scalars(x)
    height, width = geometry.height, geometry.width
    N, C, OH, OW = geometry.y_shape
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    best, place = -math.inf, -1
                    for p in range(height.kernel):
                        h = i * height.stride + p * height.dilation - height.before
                        for q in range(width.kernel):
                            w = j * width.stride + q * width.dilation - width.before
                            if not (0 <= h < height.size and 0 <= w < width.size):
                                continue
                            value = image[n, c, h, w]
                            if place < 0 or value > best or math.isnan(value):
                                best, place = value, h * width.size + w
                    out[n, c, i, j] = best
                    indices[n, c, i, j] = place


def max_pool2d_backward(grad_y: FloatArray, indices: IntArray, *, out: FloatArray) -> None:
    """``grad_x[n, c, indices[n, c, i, j]] += grad_y[n, c, i, j]``."""
    grad = scalars(grad_y)
    N, C, OH, OW = grad_y.shape
    W = out.shape[3]
    total = np.zeros(out.shape)
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    h, w = divmod(int(indices[n, c, i, j]), W)
                    total[n, c, h, w] += grad[n, c, i, j]
    out[...] = total


def avg_pool2d(
    x: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """``y[n, c, i, j] = Σ x[n, c, h, w] / D`` over the window's elements (h, w) in the image."""
    image = scalars(x)
    N, C, OH, OW = geometry.y_shape
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    total = 0.0
                    for h in _inside(i, geometry.height):
                        for w in _inside(j, geometry.width):
                            total += image[n, c, h, w]
                    out[n, c, i, j] = total / (
                        divisor_override or _count(i, j, geometry, count_include_pad)
                    )


def avg_pool2d_backward(
    grad_y: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """``grad_x[n, c, h, w] += grad_y[n, c, i, j] / D`` for the window's elements in the image."""
    grad = scalars(grad_y)
    N, C, OH, OW = geometry.y_shape
    total = np.zeros(out.shape)
    for n in range(N):
        for c in range(C):
            for i in range(OH):
                for j in range(OW):
                    share = grad[n, c, i, j] / (
                        divisor_override or _count(i, j, geometry, count_include_pad)
                    )
                    for h in _inside(i, geometry.height):
                        for w in _inside(j, geometry.width):
                            total[n, c, h, w] += share
    out[...] = total


def global_avg_pool2d(x: FloatArray, *, out: FloatArray) -> None:
    """``y[n, c, 0, 0] = Σ_h Σ_w x[n, c, h, w] / (H·W)``."""
    image = scalars(x)
    N, C, H, W = x.shape
    for n in range(N):
        for c in range(C):
            total = 0.0
            for h in range(H):
                for w in range(W):
                    total += image[n, c, h, w]
            out[n, c, 0, 0] = total / (H * W)


def global_avg_pool2d_backward(grad_y: FloatArray, *, out: FloatArray) -> None:
    """``grad_x[n, c, h, w] = grad_y[n, c, 0, 0] / (H·W)``."""
    grad = scalars(grad_y)
    N, C, H, W = out.shape
    for n in range(N):
        for c in range(C):
            for h in range(H):
                for w in range(W):
                    out[n, c, h, w] = grad[n, c, 0, 0] / (H * W)


def _inside(window: int, axis: Axis) -> Iterator[int]:
    """Yield the elements of the image that a window touches."""
    for tap in range(axis.kernel):
        place = window * axis.stride + tap - axis.before
        if 0 <= place < axis.size:
            yield place


def _count(i: int, j: int, geometry: PoolGeometry, count_include_pad: bool) -> int:
    """Count a window's elements: in the image, or in the image and its explicit padding."""
    count = 1
    for window, axis in ((i, geometry.height), (j, geometry.width)):
        if count_include_pad:
            start = window * axis.stride
            end = min(start + axis.kernel, axis.before + axis.size + axis.after)
            count *= end - start
        else:
            count *= len(list(_inside(window, axis)))
    return count
