"""2-D max-pooling, average-pooling and their gradients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels import dispatch
from kernels.backends.contract import FloatArray, IntArray
from kernels.errors import ShapeError
from kernels.geometry import PoolGeometry
from kernels.ops import checks, windows
from kernels.ops.remembering import remembered
from kernels.ops.repeating import repeatable, repeatable_after

IntPair = int | tuple[int, int]
Shape = tuple[int, int, int, int]

LARGEST_PLANE = np.iinfo(np.int32).max


class MaxPool2dResult(NamedTuple):
    """Maxima, and where they are: int32, flat into the H×W plane of the unpadded input."""

    y: FloatArray
    indices: IntArray


@repeatable
def max_pool2d(
    x: FloatArray,
    kernel_size: IntPair,
    *,
    stride: IntPair | None = None,
    padding: windows.Padding = 0,
    dilation: IntPair = 1,
    ceil_mode: bool = False,
    backend: str | None = None,
) -> MaxPool2dResult:
    """Largest element of each window.

    ``y[n, c, i, j] = max_p max_q x[n, c, i·s + p·d - pad, j·s + q·d - pad]`` over the taps that
    lie inside the image: padding never wins. The first of equal maxima wins; NaN wins, the last
    one in the window.

    Parameters
    ----------
    x : (N, C, H, W) array of float32 or float64
        Images.
    kernel_size : int or (int, int)
        Taps of the window.
    stride : int or (int, int), optional
        Steps between windows; the kernel size if left out.
    padding, dilation
        As for :func:`kernels.conv2d`; padding must be smaller than the dilated window.
    ceil_mode : bool
        Round the output size up, but drop a last window that would start in the padding.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    MaxPool2dResult
        ``y`` and ``indices``, both (N, C, OH, OW).

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, x=x)
    _check_indexable(x.shape)
    geometry = _geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    y = checks.new(chosen, geometry.y_shape, x.dtype)
    indices = checks.new(chosen, geometry.y_shape, np.dtype(np.int32))
    chosen.max_pool2d(x, geometry, out=y, indices=indices)
    return MaxPool2dResult(y, indices)


def _check_indices(grad_y: object, indices: IntArray, x_shape: Shape, **_: object) -> None:
    H, W = x_shape[2:]
    checks.within("indices", indices, H * W, "the planes of x_shape")


@repeatable_after(_check_indices)
def max_pool2d_backward(
    grad_y: FloatArray,
    indices: IntArray,
    x_shape: Shape,
    *,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Gradient of :func:`max_pool2d`: each gradient goes to the element that won.

    Parameters
    ----------
    grad_y : (N, C, OH, OW) array
        Gradient with respect to the output.
    indices : (N, C, OH, OW) array of int32 or int64
        As :func:`max_pool2d` returned them.
    x_shape : (N, C, H, W)
        Shape of the pooled images.
    out : (N, C, H, W) array, optional
        Where to write the result.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, an index outside the plane included; nothing has been
        written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, grad_y=grad_y)
    N, C = (shape := checks.image_shape("x_shape", x_shape))[:2]
    _check_indexable(shape)
    if grad_y.shape[:2] != (N, C):
        raise ShapeError(
            f"grad_y must have {N} images of {C} channels to fit x_shape, got shape {grad_y.shape}"
        )
    checks.integers("indices", indices)
    checks.shape("indices", indices, grad_y.shape, "grad_y")
    _check_indices(grad_y, indices, shape)
    grad_x = checks.result(chosen, out, shape, grad_y, grad_y=grad_y, indices=indices)
    chosen.max_pool2d_backward(grad_y, indices, out=grad_x)
    return grad_x


@repeatable
def avg_pool2d(
    x: FloatArray,
    kernel_size: IntPair,
    *,
    stride: IntPair | None = None,
    padding: windows.Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Mean of each window.

    ``y[n, c, i, j] = Σ_p Σ_q x[n, c, i·s + p - pad, j·s + q - pad] / D`` where x is 0 outside the
    image and D counts the elements of the window: those inside the image and, with
    ``count_include_pad``, those in the explicit padding. What ``ceil_mode`` lets hang over beyond
    that never counts.

    Parameters
    ----------
    x : (N, C, H, W) array of float32 or float64
        Images.
    kernel_size : int or (int, int)
        Taps of the window.
    stride : int or (int, int), optional
        Steps between windows; the kernel size if left out.
    padding
        As for :func:`kernels.conv2d`; it must be smaller than the window.
    ceil_mode : bool
        Round the output size up, but drop a last window that would start in the padding.
    count_include_pad : bool
        Whether elements of the padding count.
    divisor_override : int, optional
        Divide by this instead; any integer but 0.
    out : (N, C, OH, OW) array, optional
        Where to write the result.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, C, OH, OW) array

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, x=x)
    geometry = _geometry(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    divisor = _divisor(count_include_pad, divisor_override)
    y = checks.result(chosen, out, geometry.y_shape, x, x=x)
    chosen.avg_pool2d(x, geometry, count_include_pad, divisor, out=y)
    return y


@repeatable
def avg_pool2d_backward(
    grad_y: FloatArray,
    x_shape: Shape,
    kernel_size: IntPair,
    *,
    stride: IntPair | None = None,
    padding: windows.Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Gradient of :func:`avg_pool2d`: each gradient, over its D, goes to all of its window.

    Parameters
    ----------
    grad_y : (N, C, OH, OW) array
        Gradient with respect to the output.
    x_shape : (N, C, H, W)
        Shape of the pooled images.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, backend
        As given to :func:`avg_pool2d`.
    out : (N, C, H, W) array, optional
        Where to write the result.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, grad_y=grad_y)
    shape = checks.image_shape("x_shape", x_shape)
    geometry = _geometry(shape, kernel_size, stride, padding, 1, ceil_mode)
    divisor = _divisor(count_include_pad, divisor_override)
    checks.shape("grad_y", grad_y, geometry.y_shape, "x_shape and the window")
    grad_x = checks.result(chosen, out, shape, grad_y, grad_y=grad_y)
    chosen.avg_pool2d_backward(grad_y, geometry, count_include_pad, divisor, out=grad_x)
    return grad_x


@repeatable
def global_avg_pool2d(x: FloatArray, *, backend: str | None = None) -> FloatArray:
    """Mean of each plane: ``y[n, c, 0, 0] = Σ_h Σ_w x[n, c, h, w] / (H·W)``.

    Parameters
    ----------
    x : (N, C, H, W) array of float32 or float64
        Images; H and W are 1 or more.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, C, 1, 1) array

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, x=x)
    _check_planes("x", x.shape)
    y = checks.new(chosen, (*x.shape[:2], 1, 1), x.dtype)
    chosen.global_avg_pool2d(x, out=y)
    return y


@repeatable
def global_avg_pool2d_backward(
    grad_y: FloatArray, x_shape: Shape, *, backend: str | None = None
) -> FloatArray:
    """Gradient of :func:`global_avg_pool2d`: ``grad_y / (H·W)`` for the whole plane.

    Parameters
    ----------
    grad_y : (N, C, 1, 1) array
        Gradient with respect to the output.
    x_shape : (N, C, H, W)
        Shape of the images.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, C, H, W) array

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, grad_y=grad_y)
    shape = checks.image_shape("x_shape", x_shape)
    _check_planes("x_shape", shape)
    checks.shape("grad_y", grad_y, (*shape[:2], 1, 1), "x_shape")
    grad_x = checks.new(chosen, shape, grad_y.dtype)
    chosen.global_avg_pool2d_backward(grad_y, out=grad_x)
    return grad_x


@remembered
def _geometry(
    shape: tuple[int, ...],
    kernel_size: object,
    stride: object,
    padding: object,
    dilation: object,
    ceil_mode: object,
) -> PoolGeometry:
    N, C, H, W = shape
    _check_planes("x", shape)
    height, width = windows.pool_axes((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    return PoolGeometry(N, C, height, width)


def _check_planes(name: str, shape: tuple[int, ...]) -> None:
    if min(shape[1:]) < 1:
        raise ShapeError(f"{name} must have 1 or more channels, rows and columns, got {shape}")


def _check_indexable(shape: tuple[int, ...]) -> None:
    H, W = shape[2:]
    if H * W > LARGEST_PLANE:
        raise ShapeError(f"x must have planes of at most {LARGEST_PLANE} elements, got {H} × {W}")


def _divisor(count_include_pad: object, divisor_override: object) -> int | None:
    if not isinstance(count_include_pad, bool):
        raise TypeError(f"count_include_pad must be True or False, got {count_include_pad!r}")
    if divisor_override is None:
        return None
    divisor = checks.integer("divisor_override", divisor_override, -checks.LARGEST_INTEGER)
    if divisor == 0:
        raise ShapeError("divisor_override must be an integer other than 0, got 0")
    return divisor
