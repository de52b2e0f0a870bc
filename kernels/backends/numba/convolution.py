"""Convolution and its gradients: plan, pack the weights, run a loop nest."""

from __future__ import annotations

from kernels.backends.contract import FloatArray
from kernels.backends.numba import depthwise
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.plan import backward_plan, forward_plan, lanes_of
from kernels.backends.numba.reduction import channel_sums
from kernels.backends.numba.running import by_input, by_output, run_accumulate, run_gather
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
    if depthwise.fits(geometry):
        depthwise.conv2d(x, weight, bias, geometry, out=out)
        return
    plan = forward_plan(geometry, lanes_of(x.dtype))
    with FlatOutput(out) as y:
        run_gather(plan, geometry, flat_input(x), by_output(weight), bias, y)


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Gather each input's gradient from the outputs it went into."""
    if depthwise.fits(geometry):
        depthwise.conv2d_backward_input(grad_y, weight, geometry, out=out)
        return
    plan = backward_plan(geometry, lanes_of(grad_y.dtype))
    with FlatOutput(out) as grad_x:
        run_gather(plan, geometry, flat_input(grad_y), by_input(weight), None, grad_x)


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Multiply the transposed windows by the outputs' gradients, and sum over images."""
    if depthwise.fits(geometry):
        depthwise.conv2d_backward_weight(grad_y, x, geometry, out=out)
        return
    run_accumulate(geometry, flat_input(x), flat_input(grad_y), out)


def conv2d_backward_bias(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Sum over images and pixels."""
    channel_sums(flat_input(grad_y), out)
