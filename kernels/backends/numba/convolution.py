"""Convolution and its gradients: plan, pack the weights, run a loop nest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba import depthwise, threads
from kernels.backends.numba.accumulating import accumulate, prepare_accumulate
from kernels.backends.numba.gathering import gather, prepare_gather
from kernels.backends.numba.memory import FlatOutput, flat_input, read_only
from kernels.backends.numba.operands import NO_SLOTS, PLAIN, UNTOUCHED, Finished, Loaded
from kernels.backends.numba.packing import pack, prepare_pack, prepare_unpack, unpack
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
    if depthwise.fits(geometry):
        depthwise.conv2d(x, weight, bias, geometry, out=out)
        return
    plan = forward_plan(geometry, lanes_of(x.dtype))
    with FlatOutput(out) as y:
        run_gather(plan, flat_input(x), by_output(weight), bias, y)


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Gather each input's gradient from the outputs it went into."""
    if depthwise.fits(geometry):
        depthwise.conv2d_backward_input(grad_y, weight, geometry, out=out)
        return
    plan = backward_plan(geometry, lanes_of(grad_y.dtype))
    with FlatOutput(out) as grad_x:
        run_gather(plan, flat_input(grad_y), by_input(weight), None, grad_x)


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
    out[...] = channel_sums(flat_input(grad_y), grad_y.shape[1])


class Weights(NamedTuple):
    """Flat weights, with the distances from one source and one target channel to the next."""

    flat: FloatArray
    step_source: int
    step_target: int


def by_output(weight: FloatArray) -> Weights:
    """Return weights for gathering outputs."""
    _, Cg, KH, KW = weight.shape
    return Weights(read_only(weight), KH * KW, Cg * KH * KW)


def by_input(weight: FloatArray) -> Weights:
    """Return weights for gathering gradients of inputs."""
    _, Cg, KH, KW = weight.shape
    return Weights(read_only(weight), Cg * KH * KW, KH * KW)


def run_gather(
    plan: Plan,
    source: FloatArray,
    weights: Weights,
    bias: FloatArray | None,
    target: FloatArray,
    *,
    loaded: Loaded = PLAIN,
    finished: Finished = UNTOUCHED,
) -> None:
    """Pack the weights and run the loop nest of a gather."""
    prepare_pack(source.dtype)
    prepare_gather(source.dtype)
    start = np.zeros(plan.target_channels + plan.panel, source.dtype)
    if bias is not None:
        start[: plan.target_channels] = bias
    plain, points = plan.plain_size, plan.points_size
    with borrowed(plain + points + plan.work * threads.most(), source.dtype) as memory:
        packed, transformed = memory[:plain], memory[plain : plain + points]
        pack(*weights[:1], packed, transformed, plan.taps, *weights[1:], plan.shape)
        gather(
            *(source, *loaded.arguments(source), transformed if points else packed, start),
            *(target, *finished.arguments(source), memory[plain + points :], *plan.arrays),
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
    if geometry.batch == 0:
        out[...] = 0
        return
    prepare_accumulate(source.dtype)
    prepare_unpack(source.dtype)
    plan = weight_plan(geometry, lanes_of(source.dtype))
    slots = NO_SLOTS if grad_bias is None else np.zeros(plan.parts * geometry.out_channels)
    size = max(plan.parts * plan.size, 1)
    inner = plan.unpack_work
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
