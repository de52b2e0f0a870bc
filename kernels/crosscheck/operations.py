"""How each public operation is drawn, and how far each part of its result may be off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kernels
from kernels.backends.contract import FloatArray
from kernels.crosscheck.drawing import Draw, Window, draw_window

Limit = tuple[Any, int] | None
"""Magnitude S and length K for ``kernels.tolerance.bound``; None where results must be equal."""


@dataclass(frozen=True)
class Case:
    """Arguments of one call, and a limit for each part of its result."""

    arguments: tuple[Any, ...]
    limits: tuple[Limit, ...]
    keywords: dict[str, Any] = field(default_factory=dict)


def _naive(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    return function(*arguments, **keywords, backend="naive")


def _magnitude(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Return an operation done on absolute values; an integer array stays as it is."""
    absolute = (
        abs(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arguments
    )
    return _naive(function, *absolute, **keywords)


# Convolution


@dataclass(frozen=True)
class _Convolution:
    x: FloatArray
    weight: FloatArray
    bias: FloatArray | None
    keywords: dict[str, Any]
    y_shape: tuple[int, ...]

    @property
    def lengths(self) -> tuple[int, int, int]:
        """Terms in the sums for grad_x, grad_weight and grad_bias."""
        O, _, KH, KW = self.weight.shape
        pixels = self.y_shape[0] * self.y_shape[2] * self.y_shape[3]
        return (O // self.keywords["groups"] * KH * KW, pixels, pixels)


def _convolution(draw: Draw) -> _Convolution:
    groups = draw.integer(1, 4) if draw.chance(0.3) else 1
    in_group, out_group = draw.channels(), draw.channels()
    if groups > 1:
        in_group, out_group = draw.integer(1, 3), draw.integer(1, 3)
    height, width = (
        draw_window(draw, dilated=True, ceil_mode=False, padding_below_kernel=False)
        for _ in range(2)
    )
    N = draw.batch()
    x = draw.values(N, groups * in_group, height.size, width.size)
    weight = draw.values(groups * out_group, in_group, height.kernel, width.kernel)
    bias = draw.values(groups * out_group) if draw.chance(0.7) else None
    keywords = _window_keywords(height, width) | {"groups": groups}
    y_shape = (N, groups * out_group, height.outputs, width.outputs)
    return _Convolution(x, weight, bias, keywords, y_shape)


def _window_keywords(height: Window, width: Window) -> dict[str, Any]:
    return {
        "stride": (height.stride, width.stride),
        "padding": ((height.before, height.after), (width.before, width.after)),
        "dilation": (height.dilation, width.dilation),
    }


def conv2d(draw: Draw) -> Case:
    """Draw a case."""
    conv = _convolution(draw)
    arguments = (conv.x, conv.weight, conv.bias)
    magnitude = _magnitude(kernels.conv2d, *arguments, **conv.keywords)
    return Case(arguments, ((magnitude, conv.weight[0].size + 1),), conv.keywords)


def conv2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    conv = _convolution(draw)
    arguments = (draw.values(*conv.y_shape), conv.x, conv.weight)
    magnitudes = _magnitude(kernels.conv2d_backward, *arguments, **conv.keywords)
    return Case(arguments, tuple(zip(magnitudes, conv.lengths, strict=True)), conv.keywords)


def conv2d_backward_input(draw: Draw) -> Case:
    """Draw a case."""
    conv = _convolution(draw)
    arguments = (draw.values(*conv.y_shape), conv.weight, conv.x.shape)
    magnitude = _magnitude(kernels.conv2d_backward_input, *arguments, **conv.keywords)
    return Case(arguments, ((magnitude, conv.lengths[0]),), conv.keywords)


def conv2d_backward_weight(draw: Draw) -> Case:
    """Draw a case."""
    conv = _convolution(draw)
    arguments = (draw.values(*conv.y_shape), conv.x, conv.weight.shape)
    magnitude = _magnitude(kernels.conv2d_backward_weight, *arguments, **conv.keywords)
    return Case(arguments, ((magnitude, conv.lengths[1]),), conv.keywords)


# Pooling


def _pool(draw: Draw, *, dilated: bool) -> tuple[Window, Window, dict[str, Any]]:
    ceil_mode = draw.chance(0.3)
    height, width = (
        draw_window(draw, dilated=dilated, ceil_mode=ceil_mode, padding_below_kernel=True)
        for _ in range(2)
    )
    keywords = _window_keywords(height, width) | {"ceil_mode": ceil_mode}
    if not dilated:
        del keywords["dilation"]
    return height, width, keywords | {"kernel_size": (height.kernel, width.kernel)}


def max_pool2d(draw: Draw) -> Case:
    """Draw a case."""
    height, width, keywords = _pool(draw, dilated=True)
    values = draw.ties if draw.chance(0.5) else draw.values
    x = values(draw.batch(), draw.channels(), height.size, width.size)
    return Case((x,), (None, None), keywords)


def max_pool2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    height, width, keywords = _pool(draw, dilated=True)
    x = draw.ties(draw.batch(), draw.channels(), height.size, width.size)
    indices = draw.laid_out(_naive(kernels.max_pool2d, x, **keywords).indices)
    arguments = (draw.values(*indices.shape), indices, x.shape)
    magnitude = _magnitude(kernels.max_pool2d_backward, *arguments)
    return Case(arguments, ((magnitude, height.kernel * width.kernel),))


def _average(draw: Draw) -> tuple[Window, Window, dict[str, Any]]:
    height, width, keywords = _pool(draw, dilated=False)
    divisor = draw.integer(1, 9) if draw.chance(0.3) else None
    return (
        height,
        width,
        keywords | {"count_include_pad": draw.chance(0.5), "divisor_override": divisor},
    )


def avg_pool2d(draw: Draw) -> Case:
    """Draw a case."""
    height, width, keywords = _average(draw)
    x = draw.values(draw.batch(), draw.channels(), height.size, width.size)
    magnitude = _magnitude(kernels.avg_pool2d, x, **keywords)
    return Case((x,), ((magnitude, height.kernel * width.kernel + 1),), keywords)


def avg_pool2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    height, width, keywords = _average(draw)
    N, C = draw.batch(), draw.channels()
    grad_y = draw.values(N, C, height.outputs, width.outputs)
    arguments = (grad_y, (N, C, height.size, width.size))
    magnitude = _magnitude(kernels.avg_pool2d_backward, *arguments, **keywords)
    return Case(arguments, ((magnitude, height.kernel * width.kernel + 1),), keywords)


def global_avg_pool2d(draw: Draw) -> Case:
    """Draw a case."""
    x = draw.values(draw.batch(), draw.channels(), draw.integer(1, 9), draw.integer(1, 9))
    return Case((x,), ((_magnitude(kernels.global_avg_pool2d, x), x.shape[2] * x.shape[3] + 1),))


def global_avg_pool2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    N, C = draw.batch(least=1), draw.channels()
    arguments = (draw.values(N, C, 1, 1), (N, C, draw.integer(1, 9), draw.integer(1, 9)))
    return Case(arguments, ((_magnitude(kernels.global_avg_pool2d_backward, *arguments), 1),))


# Batch-norm


@dataclass(frozen=True)
class _Batch:
    x: FloatArray
    grad_y: FloatArray
    weight: FloatArray | None
    bias: FloatArray | None

    @property
    def length(self) -> int:
        """Values of a channel."""
        return int(self.x.size // self.x.shape[1])

    @property
    def axes(self) -> tuple[int, ...]:
        """All axes but the channels'."""
        return (0, *range(2, self.x.ndim))

    def spread(self, per_channel: Any) -> Any:
        """Return numbers per channel, shaped to broadcast against x."""
        return np.reshape(per_channel, (1, -1) + (1,) * (self.x.ndim - 2))

    @property
    def scale(self) -> Any:
        """|weight|, 1 without one."""
        return np.ones(self.x.shape[1], self.x.dtype) if self.weight is None else abs(self.weight)


def _batch(draw: Draw, least: int) -> _Batch:
    C = draw.channels()
    space = [draw.integer(1, 5) for _ in range(draw.integer(0, 2))]
    N = max(least, draw.batch())
    if least and N * int(np.prod(space)) < 2:
        N = 2
    affine = draw.chance(0.8)
    weight = draw.values(C) if affine else None
    bias = draw.values(C) if affine else None
    values = draw.values(N, C, *space)
    if draw.chance(0.3):
        values = draw.laid_out(values + values.dtype.type(draw.choice(-100, 1e4)))
    return _Batch(values, draw.values(N, C, *space), weight, bias)


def batch_norm(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=1)
    _, mean, rstd = _naive(kernels.batch_norm, batch.x, batch.weight, batch.bias)
    size = abs(batch.x) + batch.spread(abs(batch.x).mean(axis=batch.axes))
    shift = np.zeros_like(mean) if batch.bias is None else abs(batch.bias)
    # The centred form does not lose digits to a large mean, so in float32 nothing may; in float64
    # the reference's own mean is no better than any other.
    centred = abs(batch.x - batch.spread(mean)) + batch.spread(1 / rstd)
    terms = centred if batch.x.dtype == np.float32 else size
    magnitude = batch.spread(batch.scale * rstd) * terms + batch.spread(shift)
    largest = size.max(axis=batch.axes)
    # An error e of x and mean moves the variance by up to 2·e·std, so rstd by e·rstd².
    limits = (
        (magnitude, batch.length),
        (largest, batch.length),
        (largest * rstd**2 + rstd, batch.length),
    )
    return Case((batch.x, batch.weight, batch.bias), limits)


def batch_norm_backward(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=1)
    _, mean, rstd = _naive(kernels.batch_norm, batch.x, batch.weight, batch.bias)
    normalized = (abs(batch.x) + batch.spread(abs(mean))) * batch.spread(rstd)
    grad = abs(batch.grad_y)
    sums, products = grad.sum(axis=batch.axes), (grad * normalized).sum(axis=batch.axes)
    inner = grad + (batch.spread(sums) + normalized * batch.spread(products)) / batch.length
    magnitude = batch.spread(batch.scale * rstd) * inner
    of_weight = None if batch.weight is None else (products, batch.length)
    limits = ((magnitude, batch.length), of_weight, (sums, batch.length))
    return Case((batch.grad_y, batch.x, batch.weight, mean, rstd), limits)


def batch_norm_inference(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=0)
    C = batch.x.shape[1]
    mean, var = draw.values(C), draw.positive(C)
    shift = None if batch.bias is None else abs(batch.bias)
    magnitude = _naive(
        kernels.batch_norm_inference, abs(batch.x), batch.scale, shift, -abs(mean), var
    )
    return Case((batch.x, batch.weight, batch.bias, mean, var), ((magnitude, 4),))


def batch_norm_inference_backward(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=0)
    C = batch.x.shape[1]
    mean, var = draw.values(C), draw.positive(C)
    function = kernels.batch_norm_inference_backward
    parts = _naive(function, abs(batch.grad_y), abs(batch.x), batch.scale, -abs(mean), var)
    of_weight = None if batch.weight is None else (parts[1], batch.length)
    limits = ((parts[0], 4), of_weight, (parts[2], batch.length))
    return Case((batch.grad_y, batch.x, batch.weight, mean, var), limits)


# Linear layers, activations, losses


def linear(draw: Draw) -> Case:
    """Draw a case."""
    I, O = draw.choice(draw.integer(1, 9), 40), draw.choice(draw.integer(1, 9), 33)
    bias = draw.values(O) if draw.chance(0.7) else None
    arguments = (draw.values(draw.batch(), I), draw.values(O, I), bias)
    return Case(arguments, ((_magnitude(kernels.linear, *arguments), I + 1),))


def linear_backward(draw: Draw) -> Case:
    """Draw a case."""
    N, I, O = draw.batch(), draw.choice(draw.integer(1, 9), 40), draw.integer(1, 20)
    arguments = (draw.values(N, O), draw.values(N, I), draw.values(O, I))
    magnitudes = _magnitude(kernels.linear_backward, *arguments)
    return Case(arguments, tuple(zip(magnitudes, (O, N, N), strict=True)))


def relu(draw: Draw) -> Case:
    """Draw a case."""
    return Case((_any_shape(draw, draw.ties),), (None,))


def relu_backward(draw: Draw) -> Case:
    """Draw a case."""
    y = _any_shape(draw, draw.ties)
    return Case((draw.values(*y.shape), y), (None,))


def _any_shape(draw: Draw, values: Callable[..., FloatArray]) -> FloatArray:
    return values(
        *(draw.integer(0 if draw.chance(0.05) else 1, 7) for _ in range(draw.integer(0, 4)))
    )


def _logits(draw: Draw, least: int) -> FloatArray:
    logits = draw.values(draw.batch(least), draw.choice(draw.integer(1, 12), 33))
    return draw.laid_out(logits * logits.dtype.type(draw.choice(1, 30, 300)))


def softmax(draw: Draw) -> Case:
    """Draw a case."""
    logits = _logits(draw, 0)
    probabilities = _naive(kernels.softmax, logits)
    # exp turns an error e of its argument into a relative error e.
    magnitude = probabilities * (1 + 2 * abs(logits).max(axis=1, keepdims=True))
    return Case((logits,), ((magnitude, logits.shape[1]),))


def log_softmax(draw: Draw) -> Case:
    """Draw a case."""
    logits = _logits(draw, 0)
    magnitude = 1 + 2 * abs(logits).max(axis=1, keepdims=True) + 0 * logits
    return Case((logits,), ((magnitude, logits.shape[1]),))


def softmax_cross_entropy(draw: Draw) -> Case:
    """Draw a case."""
    logits = _logits(draw, 1)
    N, K = logits.shape
    largest = 1 + 2 * abs(logits).max()
    grad_limit = (largest / N + 0 * logits, K)
    return Case((logits, draw.labels(N, K)), ((np.asarray(largest), K), grad_limit))


OPERATIONS: dict[str, Callable[[Draw], Case]] = {
    function.__name__: function
    for function in (
        conv2d,
        conv2d_backward,
        conv2d_backward_input,
        conv2d_backward_weight,
        max_pool2d,
        max_pool2d_backward,
        avg_pool2d,
        avg_pool2d_backward,
        global_avg_pool2d,
        global_avg_pool2d_backward,
        batch_norm,
        batch_norm_backward,
        batch_norm_inference,
        batch_norm_inference_backward,
        linear,
        linear_backward,
        relu,
        relu_backward,
        softmax,
        log_softmax,
        softmax_cross_entropy,
    )
}
