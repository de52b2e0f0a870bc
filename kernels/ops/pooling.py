"""2-D max-pooling and its gradient."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels import dispatch
from kernels.backends.contract import FloatArray, IntArray
from kernels.errors import ShapeError
from kernels.geometry import PoolGeometry
from kernels.ops import checks, windows

IntPair = int | tuple[int, int]

LARGEST_PLANE = np.iinfo(np.int32).max


class MaxPool2dResult(NamedTuple):
    """Maxima, and where they are: int32, flat into the H×W plane of the unpadded input."""

    y: FloatArray
    indices: IntArray


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
    N, C, H, W = x.shape
    height, width = windows.pool_axes((H, W), kernel_size, stride, padding, dilation, ceil_mode)
    if H * W > LARGEST_PLANE:
        raise ShapeError(f"x must have planes of at most {LARGEST_PLANE} elements, got {H} × {W}")
    geometry = PoolGeometry(N, C, height, width)
    y = chosen.empty(geometry.y_shape, x.dtype)
    indices = chosen.empty(geometry.y_shape, np.dtype(np.int32))
    chosen.max_pool2d(x, geometry, out=y, indices=indices)
    return MaxPool2dResult(y, indices)


def max_pool2d_backward(
    grad_y: FloatArray,
    indices: IntArray,
    x_shape: tuple[int, int, int, int],
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
    N, C, H, W = shape = checks.image_shape("x_shape", x_shape)
    if grad_y.shape[:2] != (N, C):
        raise ShapeError(
            f"grad_y must have {N} images of {C} channels to fit x_shape, got shape {grad_y.shape}"
        )
    checks.integers("indices", indices)
    checks.shape("indices", indices, grad_y.shape, "grad_y")
    checks.within("indices", indices, H * W, "the planes of x_shape")
    grad_x = checks.result(chosen, out, shape, grad_y, grad_y=grad_y, indices=indices)
    chosen.max_pool2d_backward(grad_y, indices, out=grad_x)
    return grad_x
