"""Convolution and its gradients, index by index."""

from __future__ import annotations

from collections.abc import Iterator

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
    N, O, OH, OW = geometry.y_shape
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    total = 0.0 if bias is None else float(bias[o])
                    for c, channel in _channels_of(o, geometry):
                        for p, h in _taps(i, geometry.height):
                            for q, w in _taps(j, geometry.width):
                                total += image[n, channel, h, w] * filters[o, c, p, q]
                    out[n, o, i, j] = total


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """``grad_x[n, c, h, w] += grad_y[n, o, i, j] · weight[o, c, p, q]``."""
    grad, filters = scalars(grad_y), scalars(weight)
    total = np.zeros(geometry.x_shape)
    grad_x = total.data
    N, O, OH, OW = geometry.y_shape
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    for c, channel in _channels_of(o, geometry):
                        for p, h in _taps(i, geometry.height):
                            for q, w in _taps(j, geometry.width):
                                grad_x[n, channel, h, w] += grad[n, o, i, j] * filters[o, c, p, q]
    out[...] = total


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """``grad_weight[o, c, p, q] += grad_y[n, o, i, j] · x[n, c, h, w]``."""
    grad, image = scalars(grad_y), scalars(x)
    total = np.zeros(geometry.weight_shape)
    grad_weight = total.data
    N, O, OH, OW = geometry.y_shape
    for n in range(N):
        for o in range(O):
            for i in range(OH):
                for j in range(OW):
                    for c, channel in _channels_of(o, geometry):
                        for p, h in _taps(i, geometry.height):
                            for q, w in _taps(j, geometry.width):
                                grad_weight[o, c, p, q] += (
                                    grad[n, o, i, j] * image[n, channel, h, w]
                                )
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


def _taps(window: int, axis: Axis) -> Iterator[tuple[int, int]]:
    """Yield each tap of a window that lies inside the image, and where it lies."""
    for tap in range(axis.kernel):
        place = window * axis.stride + tap * axis.dilation - axis.before
        if 0 <= place < axis.size:
            yield tap, place


def _channels_of(o: int, geometry: ConvGeometry) -> Iterator[tuple[int, int]]:
    """Yield the filter's channels and the image's channels that output channel ``o`` sees."""
    in_group = geometry.channels // geometry.groups
    group = o // (geometry.out_channels // geometry.groups)
    for c in range(in_group):
        yield c, group * in_group + c
