"""Convolution and its gradients: plan, pack the weights, run a loop nest."""

from __future__ import annotations

from kernels.backends.contract import FloatArray
from kernels.backends.numba.choosing import backward_plan, forward_plan
from kernels.backends.numba.jobs import run_jobs
from kernels.backends.numba.memory import FlatOutput, flat_input
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
    plan = forward_plan(geometry, x.dtype)
    with FlatOutput(out) as y:
        job = gathering(plan, geometry, flat_input(x), by_output(weight), bias, y)
        run_jobs([job], x.dtype)


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Gather each input's gradient from the outputs it went into."""
    plan = backward_plan(geometry, grad_y.dtype)
    with FlatOutput(out) as grad_x:
        job = gathering(plan, geometry, flat_input(grad_y), by_input(weight), None, grad_x)
        run_jobs([job], grad_y.dtype)


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Multiply the transposed windows by the outputs' gradients, and sum over images."""
    run_accumulate(geometry, flat_input(x), flat_input(grad_y), out)


def conv2d_backward_bias(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Sum over images and pixels."""
    channel_sums(flat_input(grad_y), out)
