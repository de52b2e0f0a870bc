"""How each public operation is drawn: arguments, and how far each part may be off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import kernels
from kernels.backends.contract import FloatArray
from kernels.crosscheck.drawing import (
    TILED_ONE_IN,
    Draw,
    Window,
    draw_window,
    tiled_sizes,
    tiled_window,
    wide_window,
)
from kernels.crosscheck.limits import LIMITS, Limit, naive

WIDE_CHANNELS, WIDE_IMAGE = (33, 1), (33, 400)
"""Two rows of such an image do not fit the numba backend's scratch buffer, nor their columns the
numpy backend's."""


@dataclass(frozen=True)
class Case:
    """Arguments of one call, and a limit for each part of its result.

    Attributes
    ----------
    arguments, keywords
        Of the call.
    limits
        One for each part of the result.
    origin
        The forward call that an argument comes from, for a reference that has to start there.
    """

    arguments: tuple[Any, ...]
    limits: tuple[Limit, ...]
    keywords: dict[str, Any] = field(default_factory=dict)
    origin: Case | None = None


def case(operation: str, *arguments: Any, origin: Case | None = None, **keywords: Any) -> Case:
    """Return a call of an operation as a case, with its limits."""
    limits = LIMITS[operation](*arguments, **keywords)
    return Case(arguments, limits, keywords, origin)


# Convolution


@dataclass(frozen=True)
class _Convolution:
    x: FloatArray
    weight: FloatArray
    bias: FloatArray | None
    keywords: dict[str, Any]
    y_shape: tuple[int, ...]


def _convolution(draw: Draw) -> _Convolution:
    groups = draw.integer(1, 4) if draw.chance(0.3) else 1
    in_group, out_group = draw.channels(), draw.channels()
    if groups > 1:
        in_group, out_group = draw.integer(1, 3), draw.integer(1, 3)
        if draw.chance(0.4):  # depthwise, for which backends have loops of their own
            groups, in_group, out_group = max(2, draw.channels()), 1, 1
    height, width = (
        draw_window(draw, dilated=True, ceil_mode=False, padding_below_kernel=False)
        for _ in range(2)
    )
    N = draw.batch()
    if draw.wide:
        N, groups, in_group, out_group = 1, 1, *WIDE_CHANNELS
        height, width = (wide_window(draw, size) for size in WIDE_IMAGE)
    elif draw.chance(1 / TILED_ONE_IN):
        N, groups, in_group, out_group = tiled_sizes(draw)
        height, width = (tiled_window(draw) for _ in range(2))
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
    return case("conv2d", conv.x, conv.weight, conv.bias, **conv.keywords)


def conv2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    conv = _convolution(draw)
    grad_y = draw.values(*conv.y_shape)
    return case("conv2d_backward", grad_y, conv.x, conv.weight, **conv.keywords)


def conv2d_backward_input(draw: Draw) -> Case:
    """Draw a case."""
    conv = _convolution(draw)
    grad_y = draw.values(*conv.y_shape)
    return case("conv2d_backward_input", grad_y, conv.weight, conv.x.shape, **conv.keywords)


def conv2d_backward_weight(draw: Draw) -> Case:
    """Draw a case."""
    conv = _convolution(draw)
    grad_y = draw.values(*conv.y_shape)
    return case("conv2d_backward_weight", grad_y, conv.x, conv.weight.shape, **conv.keywords)


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
    return case("max_pool2d", x, **keywords)


def max_pool2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    height, width, keywords = _pool(draw, dilated=True)
    x = draw.ties(draw.batch(), draw.channels(), height.size, width.size)
    indices = draw.laid_out(naive(kernels.max_pool2d, x, **keywords).indices)
    grad_y = draw.values(*indices.shape)
    origin = case("max_pool2d", x, **keywords)
    return case("max_pool2d_backward", grad_y, indices, x.shape, origin=origin)


def _average(draw: Draw) -> tuple[Window, Window, dict[str, Any]]:
    height, width, keywords = _pool(draw, dilated=False)
    divisor = draw.choice(-9, -1, 1, 2, 7) if draw.chance(0.3) else None
    return (
        height,
        width,
        keywords | {"count_include_pad": draw.chance(0.5), "divisor_override": divisor},
    )


def avg_pool2d(draw: Draw) -> Case:
    """Draw a case."""
    height, width, keywords = _average(draw)
    x = draw.values(draw.batch(), draw.channels(), height.size, width.size)
    return case("avg_pool2d", x, **keywords)


def avg_pool2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    height, width, keywords = _average(draw)
    N, C = draw.batch(), draw.channels()
    grad_y = draw.values(N, C, height.outputs, width.outputs)
    return case("avg_pool2d_backward", grad_y, (N, C, height.size, width.size), **keywords)


def global_avg_pool2d(draw: Draw) -> Case:
    """Draw a case."""
    x = draw.values(draw.batch(), draw.channels(), draw.integer(1, 9), draw.integer(1, 9))
    return case("global_avg_pool2d", x)


def global_avg_pool2d_backward(draw: Draw) -> Case:
    """Draw a case."""
    N, C = draw.batch(least=1), draw.channels()
    x_shape = (N, C, draw.integer(1, 9), draw.integer(1, 9))
    return case("global_avg_pool2d_backward", draw.values(N, C, 1, 1), x_shape)


# Batch-norm


@dataclass(frozen=True)
class _Batch:
    x: FloatArray
    grad_y: FloatArray
    weight: FloatArray | None
    bias: FloatArray | None


def _batch(draw: Draw, least: int) -> _Batch:
    C = draw.channels()
    space = [draw.integer(1, 5) for _ in range(draw.integer(0, 2))]
    if draw.wide:
        space = [draw.integer(520, 1100)]
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
    return case("batch_norm", batch.x, batch.weight, batch.bias)


def batch_norm_backward(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=1)
    _, mean, rstd = naive(kernels.batch_norm, batch.x, batch.weight, batch.bias)
    return case("batch_norm_backward", batch.grad_y, batch.x, batch.weight, mean, rstd)


def batch_norm_inference(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=0)
    C = batch.x.shape[1]
    mean, var = draw.values(C), draw.positive(C)
    return case("batch_norm_inference", batch.x, batch.weight, batch.bias, mean, var)


def batch_norm_inference_backward(draw: Draw) -> Case:
    """Draw a case."""
    batch = _batch(draw, least=0)
    C = batch.x.shape[1]
    mean, var = draw.values(C), draw.positive(C)
    arguments = (batch.grad_y, batch.x, batch.weight, mean, var)
    return case("batch_norm_inference_backward", *arguments)


# Linear layers, activations, losses


def _matrix_sizes(draw: Draw) -> tuple[int, int, int]:
    if draw.wide:
        return draw.integer(129, 140), draw.integer(129, 140), draw.integer(33, 40)
    sizes = (draw.integer(1, 9), draw.integer(1, 9))
    return draw.batch(), draw.choice(sizes[0], 40), draw.choice(sizes[1], 33)


def linear(draw: Draw) -> Case:
    """Draw a case."""
    N, I, O = _matrix_sizes(draw)
    bias = draw.values(O) if draw.chance(0.7) else None
    return case("linear", draw.values(N, I), draw.values(O, I), bias)


def linear_backward(draw: Draw) -> Case:
    """Draw a case."""
    N, I, O = _matrix_sizes(draw)
    return case("linear_backward", draw.values(N, O), draw.values(N, I), draw.values(O, I))


def relu(draw: Draw) -> Case:
    """Draw a case."""
    return case("relu", _any_shape(draw, draw.ties))


def relu_backward(draw: Draw) -> Case:
    """Draw a case."""
    y = _any_shape(draw, draw.ties)
    return case("relu_backward", draw.values(*y.shape), y)


def _any_shape(draw: Draw, values: Callable[..., FloatArray]) -> FloatArray:
    if draw.wide:
        return values(draw.integer(129, 140), 130)
    return values(
        *(draw.integer(0 if draw.chance(0.05) else 1, 7) for _ in range(draw.integer(0, 4)))
    )


def _logits(draw: Draw, least: int) -> FloatArray:
    logits = draw.values(draw.batch(least), draw.choice(draw.integer(1, 12), 33))
    return draw.laid_out(logits * logits.dtype.type(draw.choice(1, 30, 300)))


def softmax(draw: Draw) -> Case:
    """Draw a case."""
    return case("softmax", _logits(draw, 0))


def log_softmax(draw: Draw) -> Case:
    """Draw a case."""
    return case("log_softmax", _logits(draw, 0))


def softmax_cross_entropy(draw: Draw) -> Case:
    """Draw a case."""
    logits = _logits(draw, 1)
    return case("softmax_cross_entropy", logits, draw.labels(*logits.shape))


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
