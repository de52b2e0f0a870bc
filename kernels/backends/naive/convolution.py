"""Convolution and its gradients, index by index."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.naive.memory import scalars
from kernels.geometry import Axis, ConvGeometry


def conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None,
    geometry: ConvGeometry,
    *,
    out: FloatArray,
) -> None:
    """``y[n, o, i, j] = bias[o] + Σ_c Σ_p Σ_q x[n, c, h, w] · weight[o, c, p, q]``."""
    image, filters = scalars(x), scalars(weight)
    rows, columns, channels = _taps(geometry.height), _taps(geometry.width), _channels(geometry)
    N, O, OH, OW = geometry.y_shape
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    total = 0.0 if bias is None else float(bias[o])
                    for c, channel in channels[o]:
                        for p, h in rows[i]:
                            for q, w in columns[j]:
                                total += image[n, channel, h, w] * filters[o, c, p, q]
                    out[n, o, i, j] = total


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """``grad_x[n, c, h, w] += grad_y[n, o, i, j] · weight[o, c, p, q]``."""
    grad, filters = scalars(grad_y), scalars(weight)
    total = np.zeros(geometry.x_shape)
    grad_x = total.data
    rows, columns, channels = _taps(geometry.height), _taps(geometry.width), _channels(geometry)
    N, O, OH, OW = geometry.y_shape
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    value = grad[n, o, i, j]
                    for c, channel in channels[o]:
                        for p, h in rows[i]:
                            for q, w in columns[j]:
                                grad_x[n, channel, h, w] += value * filters[o, c, p, q]
    out[...] = total


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """``grad_weight[o, c, p, q] += grad_y[n, o, i, j] · x[n, c, h, w]``."""
    grad, image = scalars(grad_y), scalars(x)
    total = np.zeros(geometry.weight_shape)
    grad_weight = total.data
    rows, columns, channels = _taps(geometry.height), _taps(geometry.width), _channels(geometry)
    N, O, OH, OW = geometry.y_shape
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    value = grad[n, o, i, j]
                    for c, channel in channels[o]:
                        for p, h in rows[i]:
                            for q, w in columns[j]:
                                grad_weight[o, c, p, q] += value * image[n, channel, h, w]
    out[...] = total


def conv2d_backward_bias(grad_y: FloatArray, *, out: FloatArray) -> None:
    """``grad_bias[o] = Σ_n Σ_i Σ_j grad_y[n, o, i, j]``."""
    grad = scalars(grad_y)
    N, O, OH, OW = grad_y.shape
    for o in range(O):
        total = 0.0
        for n in range(N):
            for i in range(OH):
                for j in range(OW):
                    total += grad[n, o, i, j]
        out[o] = total


def _taps(axis: Axis) -> list[list[tuple[int, int]]]:
    """List, for each window, the taps that lie inside the image, and where they lie."""
    windows = []
    for window in range(axis.outputs):
        places = [
            (tap, window * axis.stride + tap * axis.dilation - axis.before)
            for tap in range(axis.kernel)
        ]
        windows.append([(tap, place) for tap, place in places if 0 <= place < axis.size])
    return windows


def _channels(geometry: ConvGeometry) -> list[list[tuple[int, int]]]:
    """List, for each output channel, the filter's channels and the image's that it sees."""
    in_group = geometry.channels // geometry.groups
    out_group = geometry.out_channels // geometry.groups
    return [
        [(c, o // out_group * in_group + c) for c in range(in_group)]
        for o in range(geometry.out_channels)
    ]
