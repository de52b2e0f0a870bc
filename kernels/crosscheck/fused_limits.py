"""How far the fused convolutions may be off where Winograd's algorithm may compute them.

All arrays here are sizes: absolute values, as ``kernels.crosscheck.fused`` makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import fused
from kernels.backends.contract import FloatArray
from kernels.crosscheck import winograd
from kernels.crosscheck.limits import Limit
from kernels.geometry import Axis, ConvGeometry, PoolGeometry
from kernels.lazy import Pull, Read

Sizes = tuple[Any, ...]


def of_forward(
    direct: Any, read: Sizes, weight: FloatArray, bias: FloatArray | None, geometry: ConvGeometry
) -> winograd.Limit:
    """Return the limit for y."""
    return winograd.for_output(direct, _value(read), weight, bias, geometry)


def of_backward(
    direct: tuple[Limit, ...],
    pull: Sizes,
    pool: PoolGeometry | None,
    read: Sizes,
    weight: FloatArray,
    add: FloatArray | None,
    geometry: ConvGeometry,
) -> tuple[Limit, ...]:
    """Return the limits for the gradients of x, weight and bias, and for the sums."""
    of_x, of_weight, of_bias, *of_sums = direct
    grad_y = _gradient(pull, pool, geometry.y_shape)
    if of_weight is not None:
        of_weight = winograd.for_weight(of_weight, grad_y, _value(read), geometry)
    if of_x is not None:
        of_x = winograd.for_input(of_x, grad_y, weight, geometry, add)
        x, size = read[0].astype(np.float64), of_x[0].astype(np.float64)
        factors = (np.ones_like(x), x)
        of_sums = [
            None if limit is None else (_sum(size * factor, limit[0].dtype), limit[1])
            for limit, factor in zip(of_sums, factors, strict=True)
        ]
    return (of_x, of_weight, of_bias, *of_sums)


def _sum(size: FloatArray, dtype: Any) -> FloatArray:
    total: FloatArray = size.sum(axis=(0, 2, 3)).astype(dtype)
    return total


def _value(read: Sizes) -> FloatArray:
    """Return what is read: its convolution with a filter of one tap, 1, for each channel."""
    geometry, taps = _one_tap(read[0].shape, read[0].dtype)
    y = np.empty(geometry.y_shape, taps.dtype)
    fused.conv_forward(Read(*read), taps, None, geometry, stats=False, out=y, backend="naive")
    return y


def _gradient(pull: Sizes, pool: PoolGeometry | None, shape: tuple[int, ...]) -> FloatArray:
    """Return what is pulled, in the same way."""
    geometry, taps = _one_tap(shape, pull[0].dtype)
    grad = np.empty(shape, taps.dtype)
    fused.conv_backward(
        Pull(*pull)._replace(pool=pool),
        Read(np.zeros(shape, taps.dtype)),
        taps,
        geometry,
        grad_x=grad,
        grad_weight=np.empty_like(taps),
        grad_bias=None,
        backend="naive",
    )
    return grad


def _one_tap(shape: tuple[int, ...], dtype: Any) -> tuple[ConvGeometry, FloatArray]:
    N, C, *sizes = shape
    height, width = (Axis(size, 1, 1, 1, 0, 0, size) for size in sizes)
    return ConvGeometry(N, C, C, C, height, width), np.ones((C, 1, 1, 1), dtype)
