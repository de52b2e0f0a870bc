"""Max-pooling, average-pooling and their gradients, a vector of channels at a time."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.averaging import window_sums
from kernels.backends.numba.maxima import write_maxima
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.scattering import scatter_images
from kernels.capturing import also
from kernels.geometry import Axis, PoolGeometry


def max_pool2d(
    x: FloatArray, geometry: PoolGeometry, *, out: FloatArray, indices: IntArray
) -> None:
    """Compare the taps of each window in row-major order with the best so far."""
    with FlatOutput(out) as y, FlatOutput(indices) as places:
        write_maxima(flat_input(x), y, geometry, places)


def max_pool2d_backward(grad_y: FloatArray, indices: IntArray, *, out: FloatArray) -> None:
    """Write each image's gradients to their places."""
    places = flat_input(indices)
    if places.dtype != np.int32:
        taken, places = places, np.empty(places.shape, np.int32)
        also(np.copyto, places, taken, "same_kind")
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
