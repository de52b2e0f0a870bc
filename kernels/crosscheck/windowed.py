"""How convolutions and poolings are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import kernels
from kernels.backends.contract import FloatArray
from kernels.crosscheck.cases import Case, case
from kernels.crosscheck.drawing import (
    TILED_ONE_IN,
    Draw,
    Window,
    draw_window,
    tiled_sizes,
    tiled_window,
    wide_window,
)
from kernels.crosscheck.limits import naive

WIDE_CHANNELS, WIDE_IMAGE = (33, 1), (33, 400)
"""Two rows of such an image do not fit the numba backend's scratch buffer, nor their columns the
numpy backend's."""


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
        in_group, out_group = draw.integer(1, 4), draw.integer(1, 4)
        if draw.chance(0.6):  # many groups, for which backends have loops of their own
            groups = max(2, draw.channels())
            if draw.chance(0.6):
                in_group = out_group = 1
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
        height, width = (tiled_window(draw, N) for _ in range(2))
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
