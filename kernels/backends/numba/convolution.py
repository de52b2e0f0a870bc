"""Convolution and its gradients: plan, pack the weights, run a loop nest."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.choosing import backward_plan, exchanged, forward_plan, takes_dots
from kernels.backends.numba.dense_dots import multiply_few
from kernels.backends.numba.jobs import run_jobs
from kernels.backends.numba.memory import FlatOutput, flat_input, flat_parameter
from kernels.backends.numba.reduction import channel_sums
from kernels.backends.numba.running import by_input, by_output, gathering, run_accumulate
from kernels.geometry import ConvGeometry


def conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None,
    geometry: ConvGeometry,
    *,
    out: FloatArray,
) -> None:
    """Gather each output from the inputs under its window."""
    if takes_dots(geometry, geometry.channels, geometry.out_channels, x.dtype):
        _take_dots(x, weight, bias, out)
        return
    plan = forward_plan(geometry, x.dtype)
    with FlatOutput(out) as y:
        job = gathering(plan, geometry, flat_input(x), by_output(weight), bias, y)
        run_jobs([job], x.dtype)


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Gather each input's gradient from the outputs it went into."""
    if takes_dots(geometry, geometry.out_channels, geometry.channels, grad_y.dtype):
        _take_dots(grad_y, weight, None, out)
        return
    plan = backward_plan(geometry, grad_y.dtype)
    with FlatOutput(out) as grad_x:
        job = gathering(plan, geometry, flat_input(grad_y), by_input(weight), None, grad_x)
        run_jobs([job], grad_y.dtype)


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Multiply the transposed windows by the outputs' gradients, and sum over images."""
    other = exchanged(geometry, x.dtype)
    if other is None:
        run_accumulate(geometry, flat_input(x), flat_input(grad_y), out)
        return
    with FlatOutput(out[np.newaxis, :, :, 0, 0]) as turned:  # (1, C, O) in memory
        target = turned.reshape(other.weight_shape)
        run_accumulate(other, flat_input(grad_y), flat_input(x), target)


def conv2d_backward_bias(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Sum over images and pixels."""
    channel_sums(flat_input(grad_y), out)


def _take_dots(
    source: FloatArray, weight: FloatArray, bias: FloatArray | None, out: FloatArray
) -> None:
    """Multiply each pixel of the source with all the weights."""
    weights = flat_parameter(weight).reshape(1, -1)
    pixels = flat_input(source).reshape(-1, weights.size)
    start = np.zeros(1, source.dtype) if bias is None else bias
    with FlatOutput(out) as target:
        multiply_few(weights, pixels, start, target)
