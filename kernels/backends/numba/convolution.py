"""Convolution and its gradients: plan, pack the weights, run a loop nest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba import micro_kernel, threads
from kernels.backends.numba.accumulating import accumulate
from kernels.backends.numba.gathering import gather
from kernels.backends.numba.operands import NO_SLOTS, PLAIN, UNTOUCHED, Finished, Loaded
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.packing import pack, unpack
from kernels.backends.numba.plan import (
    Plan,
    backward_plan,
    forward_plan,
    lanes_of,
    weight_plan,
)
from kernels.backends.numba.reduction import channel_sums
from kernels.backends.numba.workspace import borrowed
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
    plan = forward_plan(geometry, lanes_of(x.dtype))
    weights = packed(weight, plan, geometry, forward=True)
    with FlatOutput(out) as y:
        run_gather(plan, flat_input(x), weights, started(bias, plan, x.dtype), y)


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Gather each input's gradient from the outputs it went into."""
    plan = backward_plan(geometry, lanes_of(grad_y.dtype))
    weights = packed(weight, plan, geometry, forward=False)
    with FlatOutput(out) as grad_x:
        run_gather(plan, flat_input(grad_y), weights, started(None, plan, grad_y.dtype), grad_x)


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Multiply the transposed windows by the outputs' gradients, and sum over images."""
    run_accumulate(geometry, flat_input(x), flat_input(grad_y), out)


def conv2d_backward_bias(grad_y: FloatArray, *, out: FloatArray) -> None:
    """Sum over images and pixels."""
    out[...] = channel_sums(flat_input(grad_y), grad_y.shape[1])


def run_gather(
    plan: Plan,
    source: FloatArray,
    weights: FloatArray,
    start: FloatArray,
    target: FloatArray,
    *,
    loaded: Loaded = PLAIN,
    finished: Finished = UNTOUCHED,
) -> None:
    """Run the loop nest of a gather, compiled on its first call for a dtype."""
    micro_kernel.prepare(source.dtype)
    with borrowed(plan.work * threads.most(), source.dtype) as work:
        gather(
            *(source, *loaded.arguments(source), weights, start),
            *(target, *finished.arguments(source), work, *plan.arrays),
        )


def run_accumulate(
    geometry: ConvGeometry,
    source: FloatArray,
    grad: FloatArray,
    out: FloatArray,
    *,
    read: Loaded = PLAIN,
    pulled: Loaded = PLAIN,
    grad_bias: FloatArray | None = None,
) -> None:
    """Run the loop nest of a weight gradient and write it, and the bias's if there is one."""
    micro_kernel.prepare(source.dtype)
    plan = weight_plan(geometry, lanes_of(source.dtype))
    slots = NO_SLOTS if grad_bias is None else np.zeros(plan.parts * geometry.out_channels)
    size = max(plan.parts * plan.size, 1)
    inner = plan.rows * 18 * lanes_of(source.dtype)
    flat = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    with borrowed(plan.work * threads.most() + size + inner, source.dtype) as work:
        partials, work = work[:size], work[size:]
        accumulate(
            *(source, *read.arguments(source)[:2], grad, *pulled.arguments(grad)[2:]),
            *(partials, plan.parts, slots, work, *plan.arrays),
        )
        unpack(partials, plan.parts, flat.reshape(-1), work, plan.arrays[0])
    if flat is not out:
        out[...] = flat
    if grad_bias is not None:
        grad_bias[...] = slots.reshape(plan.parts, -1).sum(axis=0)


def packed(
    weight: FloatArray, plan: Plan, geometry: ConvGeometry, *, forward: bool
) -> FloatArray:
    """Return the weights as the plan's algorithm reads them."""
    _, Cg, KH, KW = geometry.weight_shape
    flat = np.ascontiguousarray(weight).reshape(-1).view()
    flat.flags.writeable = False
    plain = np.empty(plan.plain_size, weight.dtype)
    points = np.empty(plan.points_size, weight.dtype)
    by_output, by_input = Cg * KH * KW, KH * KW
    steps = (by_input, by_output) if forward else (by_output, by_input)
    pack(flat, plain, points, plan.taps, *steps, plan.shape)
    return points if plan.winograd else plain


def started(bias: FloatArray | None, plan: Plan, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return what each target channel starts from, and a panel of zeros."""
    start = np.zeros(plan.target_channels + plan.panel, dtype)
    if bias is not None:
        start[: plan.target_channels] = bias
    return start
