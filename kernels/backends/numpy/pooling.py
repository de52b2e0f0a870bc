"""Max-pooling over the taps of the window, and its gradient as a scatter-add."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numpy.memory import channels_last
from kernels.geometry import Axis, PoolGeometry


def max_pool2d(
    x: FloatArray, geometry: PoolGeometry, *, out: FloatArray, indices: IntArray
) -> None:
    """Compare the windows tap by tap, in row-major order, with the best so far."""
    height, width = geometry.height, geometry.width
    image = _padded(channels_last(x), geometry)
    best, place = channels_last(out), channels_last(indices)
    best[...] = -np.inf
    place[...] = (_first_inside(height)[:, None] * width.size + _first_inside(width))[..., None]
    for p in range(height.kernel):
        for q in range(width.kernel):
            values = image[:, _tap(p, height), _tap(q, width)]
            wins = (values > best) | np.isnan(values)
            here = _places(p, height)[:, None] * width.size + _places(q, width)
            np.copyto(best, values, where=wins)
            np.copyto(place, here[..., None], where=wins, casting="same_kind")


def max_pool2d_backward(grad_y: FloatArray, indices: IntArray, *, out: FloatArray) -> None:
    """Add each gradient to its place in memory order (N, H, W, C)."""
    N, C, H, W = out.shape
    target = np.zeros((N, H, W, C), out.dtype)
    image = np.arange(N, dtype=np.intp)[:, None, None, None] * (H * W)
    flat = (channels_last(indices) + image) * C + np.arange(C, dtype=np.intp)
    np.add.at(target.reshape(-1), flat.reshape(-1), channels_last(grad_y).reshape(-1))
    channels_last(out)[...] = target


def _places(tap: int, axis: Axis) -> NDArray[Any]:
    """Return where a tap of each window lies in the unpadded image."""
    first = tap * axis.dilation - axis.before
    return np.arange(first, first + axis.outputs * axis.stride, axis.stride)


def _first_inside(axis: Axis) -> NDArray[Any]:
    """Return where the first tap that is inside the image lies, for each window."""
    first = _places(0, axis)
    return first + -(np.minimum(first, 0) // axis.dilation) * axis.dilation


def _tap(tap: int, axis: Axis) -> slice:
    """Return the slice of the padded image that holds one tap of all windows."""
    first = tap * axis.dilation
    return slice(first, first + (axis.outputs - 1) * axis.stride + 1, axis.stride)


def _padded(image: FloatArray, geometry: PoolGeometry) -> FloatArray:
    """Return the images with -inf around them, so that padding never wins."""
    height, width = geometry.height, geometry.width
    pads = [(axis.before, _overhang(axis)) for axis in (height, width)]
    if not any(map(any, pads)):
        return image
    return np.pad(image, [(0, 0), *pads, (0, 0)], constant_values=-np.inf)


def _overhang(axis: Axis) -> int:
    """Return how far the last window reaches over the end of the image."""
    reach = (axis.outputs - 1) * axis.stride + axis.span - axis.before
    return max(0, reach - axis.size)
