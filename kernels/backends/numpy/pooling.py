"""Pooling tap by tap of the window, all windows at once, and the gradients."""

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
    """Take the maximum over the taps, then see which tap it came from.

    Choosing by arithmetic: ``copyto(..., where=)`` takes ten times as long on a random mask.
    """
    height, width = geometry.height, geometry.width
    image = _padded(channels_last(x), geometry, -np.inf)
    taps = [
        (
            image[:, _tap(p, height), _tap(q, width)],
            _flat(_places(p, height), _places(q, width), width),
        )
        for p in range(height.kernel)
        for q in range(width.kernel)
    ]
    best, place = channels_last(out), channels_last(indices)
    best[...] = -np.inf
    for values, _ in taps:
        np.maximum(best, values, out=best)
    place[...] = _flat(_first_inside(height), _first_inside(width), width)
    for values, here in reversed(taps):  # so that the first of equal maxima has the last word
        step = here - place
        step *= (values == best) & (values != -np.inf)
        place += step
    if np.isnan(best).any():
        for values, here in taps:  # the last NaN of a window wins
            np.copyto(place, here, where=np.isnan(values))


def max_pool2d_backward(grad_y: FloatArray, indices: IntArray, *, out: FloatArray) -> None:
    """Add each gradient to its place in memory order (N, H, W, C)."""
    N, C, H, W = out.shape
    target = np.zeros((N, H, W, C), out.dtype)
    image = np.arange(N, dtype=np.intp)[:, None, None, None] * (H * W)
    places = channels_last(indices).astype(np.intp, copy=False)
    flat = (places + image) * C + np.arange(C, dtype=np.intp)
    np.add.at(target.reshape(-1), flat.reshape(-1), channels_last(grad_y).reshape(-1))
    channels_last(out)[...] = target


def avg_pool2d(
    x: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """Add up the taps and divide."""
    height, width = geometry.height, geometry.width
    image = _padded(channels_last(x), geometry, 0.0)
    total = channels_last(out)
    total[...] = 0
    for p in range(height.kernel):
        for q in range(width.kernel):
            total += image[:, _tap(p, height), _tap(q, width)]
    total /= _divisors(geometry, count_include_pad, divisor_override).astype(out.dtype)


def avg_pool2d_backward(
    grad_y: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    *,
    out: FloatArray,
) -> None:
    """Divide, and add to each tap."""
    height, width = geometry.height, geometry.width
    divisors = _divisors(geometry, count_include_pad, divisor_override).astype(out.dtype)
    share = channels_last(grad_y) / divisors
    shape = [a.before + a.size + _overhang(a) for a in (height, width)]
    padded = np.zeros((geometry.batch, *shape, geometry.channels), out.dtype)
    for p in range(height.kernel):
        for q in range(width.kernel):
            padded[:, _tap(p, height), _tap(q, width)] += share
    inside = padded[:, height.before :, width.before :][:, : height.size, : width.size]
    channels_last(out)[...] = inside


def global_avg_pool2d(x: FloatArray, *, out: FloatArray) -> None:
    """Take the mean over both axes, row by row first."""
    out[...] = x.mean(axis=3).mean(axis=2)[:, :, np.newaxis, np.newaxis]


def global_avg_pool2d_backward(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Divide and repeat."""
    out[...] = grad_y / np.asarray(out.shape[2] * out.shape[3], out.dtype)


def _divisors(
    geometry: PoolGeometry, count_include_pad: bool, divisor_override: int | None
) -> NDArray[Any]:
    """Return what each window is divided by, shaped to broadcast against (N, OH, OW, C)."""
    if divisor_override is not None:
        return np.array(divisor_override)
    counts = []
    for axis in (geometry.height, geometry.width):
        pad = (axis.before, axis.after) if count_include_pad else (0, 0)
        start = _places(0, axis)
        end = np.minimum(start + axis.kernel, axis.size + pad[1])
        counts.append(end - np.maximum(start, -pad[0]))
    divisors: NDArray[Any] = np.multiply.outer(*counts)[:, :, np.newaxis]
    return divisors


def _places(tap: int, axis: Axis) -> NDArray[Any]:
    """Return where a tap of each window lies in the unpadded image."""
    first = tap * axis.dilation - axis.before
    return np.asarray(range(first, first + axis.outputs * axis.stride, axis.stride))


def _flat(rows: NDArray[Any], columns: NDArray[Any], width: Axis) -> NDArray[Any]:
    """Return places in the H×W plane, shaped to broadcast against (N, OH, OW, C)."""
    flat: NDArray[np.int32] = np.add.outer(rows * width.size, columns).astype(np.int32)
    return flat[:, :, np.newaxis]


def _first_inside(axis: Axis) -> NDArray[Any]:
    """Return where the first tap that is inside the image lies, for each window."""
    first = _places(0, axis)
    inside: NDArray[Any] = first - np.minimum(first, 0) // axis.dilation * axis.dilation
    return inside


def _tap(tap: int, axis: Axis) -> slice:
    """Return the slice of the padded image that holds one tap of all windows."""
    first = tap * axis.dilation
    return slice(first, first + (axis.outputs - 1) * axis.stride + 1, axis.stride)


def _padded(image: FloatArray, geometry: PoolGeometry, value: float) -> FloatArray:
    """Return the images with a value around them, as far as windows reach."""
    height, width = geometry.height, geometry.width
    pads = [(axis.before, _overhang(axis)) for axis in (height, width)]
    if not any(map(any, pads)):
        return image
    return np.pad(image, [(0, 0), *pads, (0, 0)], constant_values=value)


def _overhang(axis: Axis) -> int:
    """Return how far the last window reaches over the end of the image."""
    reach = (axis.outputs - 1) * axis.stride + axis.span - axis.before
    return max(0, reach - axis.size)
