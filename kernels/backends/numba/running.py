"""From arrays to the loop nests of a convolution: packed weights, working memory, the call."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.accumulating import accumulate, prepare_accumulate
from kernels.backends.numba.gathering import gather, prepare_gather
from kernels.backends.numba.memory import read_only
from kernels.backends.numba.operands import NO_SLOTS, PLAIN, UNTOUCHED, Finished, Loaded
from kernels.backends.numba.packing import pack, prepare_pack, prepare_unpack, unpack
from kernels.backends.numba.plan import Plan, lanes_of
from kernels.backends.numba.plan_weights import weight_plan
from kernels.backends.numba.workspace import borrowed
from kernels.geometry import ConvGeometry


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
