"""2-D convolution (cross-correlation, as everywhere in deep learning) and its gradients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels import dispatch
from kernels.backends.contract import FloatArray
from kernels.ops import checks, windows
from kernels.ops.repeating import repeatable

IntPair = int | tuple[int, int]
Padding = windows.Padding


class Conv2dGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of :func:`conv2d`."""

    grad_x: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


@repeatable
def conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None = None,
    *,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Convolve images with a bank of filters.

    ``y[n, o, i, j] = bias[o] + Σ_c Σ_p Σ_q x[n, c, i·s + p·d - pad, j·s + q·d - pad] ·
    weight[o, c, p, q]``, where x is 0 outside the image and c runs over the channels of o's group
    (Dumoulin & Visin, arXiv:1603.07285).

    Parameters
    ----------
    x : (N, C, H, W) array of float32 or float64
        Images.
    weight : (O, C / groups, KH, KW) array
        Filters.
    bias : (O,) array, optional
        Added to each output channel.
    stride, dilation : int or (int, int)
        Steps between windows, and between the taps of a window, for height and width.
    padding : int, (int, int), ((top, bottom), (left, right)) or str
        Zeros around each image: ``"valid"`` none; ``"same"`` as many as keep the size (stride 1
        only, the odd one at the bottom and right); ``"same_upper"`` and ``"same_lower"`` so many
        that the output has ``ceil(size / stride)``, the odd one at the end or the beginning.
    groups : int
        Blocks of channels that do not see each other; divides C and O.
    out : (N, O, OH, OW) array, optional
        Where to write the result; it overlaps no input.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, O, OH, OW) array
        With ``OH = floor((H + top + bottom - dilation·(KH - 1) - 1) / stride) + 1``, OW alike.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, x=x, weight=weight)
    checks.optional_floats(x, bias=bias)
    geometry = windows.convolution(x.shape, weight.shape, stride, padding, dilation, groups)
    checks.shape("bias", bias, (geometry.out_channels,), "weight's first dimension")
    y = checks.result(chosen, out, geometry.y_shape, x, x=x, weight=weight, bias=bias)
    chosen.conv2d(x, weight, bias, geometry, out=y)
    return y


@repeatable
def conv2d_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    backend: str | None = None,
) -> Conv2dGradients:
    """All three gradients of :func:`conv2d`.

    ``grad_bias[o] = Σ_n Σ_i Σ_j grad_y[n, o, i, j]``; for the others see
    :func:`conv2d_backward_input` and :func:`conv2d_backward_weight`.

    Parameters
    ----------
    grad_y : (N, O, OH, OW) array
        Gradient with respect to the output.
    x, weight, stride, padding, dilation, groups, backend
        As given to :func:`conv2d`.

    Returns
    -------
    Conv2dGradients
        ``grad_x`` (N, C, H, W), ``grad_weight`` (O, C / groups, KH, KW), ``grad_bias`` (O,).

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, grad_y=grad_y, x=x, weight=weight)
    geometry = windows.convolution(x.shape, weight.shape, stride, padding, dilation, groups)
    checks.shape("grad_y", grad_y, geometry.y_shape, "x, weight and the window")
    gradients = Conv2dGradients(
        checks.new(chosen, geometry.x_shape, x.dtype),
        np.empty(geometry.weight_shape, x.dtype),
        np.empty(geometry.out_channels, x.dtype),
    )
    chosen.conv2d_backward_input(grad_y, weight, geometry, out=gradients.grad_x)
    chosen.conv2d_backward_weight(grad_y, x, geometry, out=gradients.grad_weight)
    chosen.conv2d_backward_bias(grad_y, out=gradients.grad_bias)
    return gradients


@repeatable
def conv2d_backward_input(
    grad_y: FloatArray,
    weight: FloatArray,
    x_shape: tuple[int, int, int, int],
    *,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Gradient of :func:`conv2d` with respect to ``x``: the transposed convolution.

    ``grad_x[n, c, h, w] = Σ grad_y[n, o, i, j] · weight[o, c, p, q]`` over all o, i, j, p, q with
    ``h = i·stride + p·dilation - pad`` and w alike.

    Parameters
    ----------
    grad_y : (N, O, OH, OW) array
        Gradient with respect to the output.
    weight, stride, padding, dilation, groups, backend
        As given to :func:`conv2d`.
    x_shape : (N, C, H, W)
        Shape of ``x``, which the output's shape does not determine.
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
    checks.floats(ndim=4, grad_y=grad_y, weight=weight)
    shape = checks.image_shape("x_shape", x_shape)
    geometry = windows.convolution(shape, weight.shape, stride, padding, dilation, groups)
    checks.shape("grad_y", grad_y, geometry.y_shape, "x_shape, weight and the window")
    grad_x = checks.result(chosen, out, geometry.x_shape, grad_y, grad_y=grad_y, weight=weight)
    chosen.conv2d_backward_input(grad_y, weight, geometry, out=grad_x)
    return grad_x


@repeatable
def conv2d_backward_weight(
    grad_y: FloatArray,
    x: FloatArray,
    weight_shape: tuple[int, int, int, int],
    *,
    stride: IntPair = 1,
    padding: Padding = 0,
    dilation: IntPair = 1,
    groups: int = 1,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Gradient of :func:`conv2d` with respect to ``weight``.

    ``grad_weight[o, c, p, q] = Σ_n Σ_i Σ_j grad_y[n, o, i, j] · x[n, c, i·s + p·d - pad,
    j·s + q·d - pad]``.

    Parameters
    ----------
    grad_y : (N, O, OH, OW) array
        Gradient with respect to the output.
    x, stride, padding, dilation, groups, backend
        As given to :func:`conv2d`.
    weight_shape : (O, C / groups, KH, KW)
        Shape of ``weight``.
    out : (O, C / groups, KH, KW) array, optional
        Where to write the result.

    Returns
    -------
    (O, C / groups, KH, KW) array, C-contiguous

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=4, grad_y=grad_y, x=x)
    shape = checks.image_shape("weight_shape", weight_shape)
    geometry = windows.convolution(x.shape, shape, stride, padding, dilation, groups)
    checks.shape("grad_y", grad_y, geometry.y_shape, "x, weight_shape and the window")
    if out is None:
        out = np.empty(geometry.weight_shape, x.dtype)
    else:
        checks.output("out", out, geometry.weight_shape, x, grad_y=grad_y, x=x)
    chosen.conv2d_backward_weight(grad_y, x, geometry, out=out)
    return out
