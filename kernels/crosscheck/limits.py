"""How far each part of an operation's result may be off, from the arguments of the call.

Each function takes the arguments of the public operation of its name, and returns a limit for each
part of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import kernels
from kernels.crosscheck import winograd
from kernels.geometry import ConvGeometry
from kernels.ops import windows

Limit = tuple[Any, int] | None
"""Magnitude S and length K for ``kernels.tolerance.bound``; None where results must be equal."""


def naive(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a public operation of the reference."""
    return function(*arguments, **keywords, backend="naive")


def magnitude(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Return an operation done on absolute values; an integer array stays as it is."""
    absolute = (
        abs(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arguments
    )
    return naive(function, *absolute, **keywords)


def _exact(*arguments: Any, **keywords: Any) -> tuple[Limit, ...]:
    return (None,)


# Convolution


def _conv2d(x: Any, weight: Any, bias: Any = None, **window: Any) -> tuple[Limit, ...]:
    size = magnitude(kernels.conv2d, x, weight, bias, **window)
    geometry = _geometry(x.shape, weight.shape, **window)
    return (winograd.for_output((size, weight[0].size + 1), x, weight, bias, geometry),)


def _conv2d_backward(grad_y: Any, x: Any, weight: Any, **window: Any) -> tuple[Limit, ...]:
    of_x, of_weight, of_bias = magnitude(kernels.conv2d_backward, grad_y, x, weight, **window)
    geometry = _geometry(x.shape, weight.shape, **window)
    return (
        winograd.for_input((of_x, _terms_of_input(geometry)), grad_y, weight, geometry),
        winograd.for_weight((of_weight, _pixels(geometry)), grad_y, x, geometry),
        (of_bias, _pixels(geometry)),
    )


def _conv2d_backward_input(
    grad_y: Any, weight: Any, x_shape: Any, **window: Any
) -> tuple[Limit, ...]:
    size = magnitude(kernels.conv2d_backward_input, grad_y, weight, x_shape, **window)
    geometry = _geometry(x_shape, weight.shape, **window)
    return (winograd.for_input((size, _terms_of_input(geometry)), grad_y, weight, geometry),)


def _conv2d_backward_weight(
    grad_y: Any, x: Any, weight_shape: Any, **window: Any
) -> tuple[Limit, ...]:
    size = magnitude(kernels.conv2d_backward_weight, grad_y, x, weight_shape, **window)
    geometry = _geometry(x.shape, weight_shape, **window)
    return (winograd.for_weight((size, _pixels(geometry)), grad_y, x, geometry),)


def _geometry(
    x_shape: Any,
    weight_shape: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> ConvGeometry:
    shapes = tuple(x_shape), tuple(weight_shape)
    return windows.convolution(*shapes, stride, padding, dilation, groups)


def _terms_of_input(geometry: ConvGeometry) -> int:
    taps = geometry.height.kernel * geometry.width.kernel
    return geometry.out_channels // geometry.groups * taps


def _pixels(geometry: ConvGeometry) -> int:
    return geometry.batch * geometry.height.outputs * geometry.width.outputs


# Pooling


def _max_pool2d(*arguments: Any, **keywords: Any) -> tuple[Limit, ...]:
    return (None, None)


def _max_pool2d_backward(grad_y: Any, indices: Any, x_shape: Any) -> tuple[Limit, ...]:
    """Take as many terms as the element that won most often has."""
    size = magnitude(kernels.max_pool2d_backward, grad_y, indices, x_shape)
    wins = naive(kernels.max_pool2d_backward, np.ones_like(grad_y), indices, x_shape)
    return ((size, int(wins.max(initial=1))),)


def _avg_pool2d(x: Any, kernel_size: Any, **window: Any) -> tuple[Limit, ...]:
    size = magnitude(kernels.avg_pool2d, x, kernel_size, **window)
    return ((size, _taps(kernel_size) + 1),)


def _avg_pool2d_backward(
    grad_y: Any, x_shape: Any, kernel_size: Any, **window: Any
) -> tuple[Limit, ...]:
    size = magnitude(kernels.avg_pool2d_backward, grad_y, x_shape, kernel_size, **window)
    return ((size, _taps(kernel_size) + 1),)


def _taps(kernel_size: Any) -> int:
    return int(np.prod(np.broadcast_to(kernel_size, 2)))


def _global_avg_pool2d(x: Any) -> tuple[Limit, ...]:
    return ((magnitude(kernels.global_avg_pool2d, x), x.shape[2] * x.shape[3] + 1),)


def _global_avg_pool2d_backward(grad_y: Any, x_shape: Any) -> tuple[Limit, ...]:
    return ((magnitude(kernels.global_avg_pool2d_backward, grad_y, x_shape), 1),)


# Batch-norm


def _spread(x: Any, per_channel: Any) -> Any:
    """Return numbers per channel, shaped to broadcast against x."""
    return np.reshape(per_channel, (1, -1) + (1,) * (x.ndim - 2))


def _axes(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _values(x: Any) -> int:
    """Values of a channel."""
    return int(x.size // x.shape[1])


def _scale(mean: Any, weight: Any) -> Any:
    return np.ones_like(mean) if weight is None else abs(weight)


def _batch_norm(x: Any, weight: Any, bias: Any, **keywords: Any) -> tuple[Limit, ...]:
    _, mean, rstd = naive(kernels.batch_norm, x, weight, bias, **keywords)
    size = abs(x) + _spread(x, abs(x).mean(axis=_axes(x)))
    shift = np.zeros_like(mean) if bias is None else abs(bias)
    # The centred form does not lose digits to a large mean, so in float32 nothing may; in float64
    # the reference's own mean is no better than any other.
    centred = abs(x - _spread(x, mean)) + _spread(x, 1 / rstd)
    terms = centred if x.dtype == np.float32 else size
    of_y = _spread(x, _scale(rstd, weight) * rstd) * terms + _spread(x, shift)
    largest = size.max(axis=_axes(x))
    M = _values(x)
    # An error e of x and mean moves the variance by up to 2·e·std, so rstd by e·rstd².
    return (of_y, M), (largest, M), (largest * rstd**2 + rstd, M)


def _batch_norm_backward(
    grad_y: Any, x: Any, weight: Any, mean: Any, rstd: Any
) -> tuple[Limit, ...]:
    M = _values(x)
    normalized = (abs(x) + _spread(x, abs(mean))) * _spread(x, rstd)
    grad = abs(grad_y)
    sums, products = grad.sum(axis=_axes(x)), (grad * normalized).sum(axis=_axes(x))
    inner = grad + (_spread(x, sums) + normalized * _spread(x, products)) / M
    of_x = _spread(x, _scale(rstd, weight) * rstd) * inner
    return (of_x, M), None if weight is None else (products, M), (sums, M)


def _batch_norm_inference(
    x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, **keywords: Any
) -> tuple[Limit, ...]:
    shift = None if bias is None else abs(bias)
    arguments = (abs(x), _scale(running_mean, weight), shift, -abs(running_mean), running_var)
    return ((naive(kernels.batch_norm_inference, *arguments, **keywords), 4),)


def _batch_norm_inference_backward(
    grad_y: Any, x: Any, weight: Any, running_mean: Any, running_var: Any, **keywords: Any
) -> tuple[Limit, ...]:
    arguments = (abs(grad_y), abs(x), _scale(running_mean, weight), -abs(running_mean), running_var)
    parts = naive(kernels.batch_norm_inference_backward, *arguments, **keywords)
    M = _values(x)
    return (parts[0], 4), None if weight is None else (parts[1], M), (parts[2], M)


# Linear layers, losses


def _linear(x: Any, weight: Any, bias: Any = None) -> tuple[Limit, ...]:
    return ((magnitude(kernels.linear, x, weight, bias), x.shape[1] + 1),)


def _linear_backward(grad_y: Any, x: Any, weight: Any) -> tuple[Limit, ...]:
    magnitudes = magnitude(kernels.linear_backward, grad_y, x, weight)
    N, O = grad_y.shape
    return tuple(zip(magnitudes, (O, N, N), strict=True))


def _softmax(logits: Any) -> tuple[Limit, ...]:
    probabilities = naive(kernels.softmax, logits)
    # exp turns an error e of its argument into a relative error e.
    size = probabilities * (1 + 2 * abs(logits).max(axis=1, keepdims=True))
    return ((size, logits.shape[1]),)


def _log_softmax(logits: Any) -> tuple[Limit, ...]:
    return ((1 + 2 * abs(logits).max(axis=1, keepdims=True) + 0 * logits, logits.shape[1]),)


def _softmax_cross_entropy(logits: Any, labels: Any) -> tuple[Limit, ...]:
    N, K = logits.shape
    largest = 1 + 2 * abs(logits).max()
    return (np.asarray(largest), K), (largest / N + 0 * logits, K)


LIMITS: dict[str, Callable[..., tuple[Limit, ...]]] = {
    "conv2d": _conv2d,
    "conv2d_backward": _conv2d_backward,
    "conv2d_backward_input": _conv2d_backward_input,
    "conv2d_backward_weight": _conv2d_backward_weight,
    "max_pool2d": _max_pool2d,
    "max_pool2d_backward": _max_pool2d_backward,
    "avg_pool2d": _avg_pool2d,
    "avg_pool2d_backward": _avg_pool2d_backward,
    "global_avg_pool2d": _global_avg_pool2d,
    "global_avg_pool2d_backward": _global_avg_pool2d_backward,
    "batch_norm": _batch_norm,
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_inference": _batch_norm_inference,
    "batch_norm_inference_backward": _batch_norm_inference_backward,
    "linear": _linear,
    "linear_backward": _linear_backward,
    "relu": _exact,
    "relu_backward": _exact,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softmax_cross_entropy": _softmax_cross_entropy,
}
