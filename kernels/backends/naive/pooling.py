"""Max-pooling and its gradient, index by index."""

from __future__ import annotations

import math

import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.naive.memory import scalars
from kernels.geometry import PoolGeometry


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
