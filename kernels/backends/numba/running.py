"""From arrays to the loop nests of a convolution: packed weights, sums, tables of both."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.accumulating import ACCUMULATE
from kernels.backends.numba.accumulating_at_once import ACCUMULATE_AT_ONCE, TRANSFORM_BOTH
from kernels.backends.numba.calls import (
    BIAS,
    BIASES,
    BITS,
    ENTRIES,
    FILTERS,
    FILTERS_SIZE,
    GRAD_FILTERS,
    IS_PACKED,
    LOAD,
    MERGED,
    MOMENTS,
    PARTIALS,
    PARTIALS_SIZE,
    PASSING,
    POINTS,
    POOLS_BANDS,
    SEGMENTS,
    SHAPES,
    SLOT_PIXELS,
    SLOTS,
    SLOTTED,
    START,
    TAPS,
    TARGET,
    WEIGHTS,
)
from kernels.backends.numba.choosing import weight_plan
from kernels.backends.numba.depthwise import GATHER_STRIDING, scatter_striding
from kernels.backends.numba.depthwise_plan import GATHERS, SCATTERS
from kernels.backends.numba.finishing import CLEAR_SLOTS, MERGE_MOMENTS
from kernels.backends.numba.gathering import GATHER
from kernels.backends.numba.gathering_at_once import GATHER_PANEL, TRANSFORM_SOURCES
from kernels.backends.numba.grouped import ACCUMULATE_GROUPS, GATHER_GROUPS
from kernels.backends.numba.grouped_in_place import accumulate_in_place, gather_in_place
from kernels.backends.numba.grouped_packing import PACK_GROUPS, UNPACK_GROUPS
from kernels.backends.numba.jobs import Job, run_jobs
from kernels.backends.numba.keeping import keeps, kept_entries
from kernels.backends.numba.memory import empty, flat_parameter
from kernels.backends.numba.operands import PLAIN, UNTOUCHED, Finished, Loaded, counted
from kernels.backends.numba.packing import PACK, block_size
from kernels.backends.numba.plan import Plan, lanes_of
from kernels.backends.numba.plan_weights import WeightPlan
from kernels.backends.numba.reduction import add_up
from kernels.backends.numba.tasks import Phase, Task, team_for
from kernels.backends.numba.unpacking import UNPACK
from kernels.backends.numba.winners import TAKE_WINNERS
from kernels.capturing import also
from kernels.geometry import ConvGeometry

PACKING_WORK = 16
"""Multiply-adds in the time that it takes to pack or unpack a weight."""


ELEMENT_WORK = 24
"""Multiply-adds in the time that it takes to copy or store an element of an image.

1 image of 28×28 to 16 channels takes one thread 5 µs, and its gradient 16, with 0.1 million.
"""


def _team(geometry: ConvGeometry) -> int:
    """Return how many threads a pass is worth, at most."""
    elements = math.prod(geometry.x_shape) + math.prod(geometry.y_shape)
    return team_for(geometry.multiply_adds + ELEMENT_WORK * elements)


class Weights(NamedTuple):
    """Flat weights, with the distances from one source and one target channel to the next.

    ``in_pieces`` says whether the weights of each task that packs some lie in one piece.
    """

    flat: FloatArray
    step_source: int
    step_target: int
    in_pieces: bool


def by_output(weight: FloatArray) -> Weights:
    """Return weights for gathering outputs."""
    _, Cg, KH, KW = weight.shape
    return Weights(flat_parameter(weight), KH * KW, Cg * KH * KW, True)


def by_input(weight: FloatArray) -> Weights:
    """Return weights for gathering gradients of inputs."""
    _, Cg, KH, KW = weight.shape
    return Weights(flat_parameter(weight), Cg * KH * KW, KH * KW, False)


def _gathering(plan: Plan) -> tuple[Task, Task]:
    """Return what packs the weights of a gather, or transforms its sources, and what runs it."""
    if plan.transforms:
        return TRANSFORM_SOURCES, GATHER_PANEL
    if plan.sliding == GATHERS:
        return PACK_GROUPS, GATHER_STRIDING
    if plan.sliding == SCATTERS:
        return PACK_GROUPS, scatter_striding(plan.window, plan.window_step)
    if plan.depthwise:
        return PACK_GROUPS, gather_in_place(plan.in_group, plan.out_group, plan.sliding)
    return (PACK_GROUPS, GATHER_GROUPS) if plan.grouped else (PACK, GATHER)


def _accumulating(plan: WeightPlan) -> tuple[Task, Task | None]:
    """Return what sums a weight gradient, and what unpacks it, if it must."""
    if plan.transforms:
        return ACCUMULATE_AT_ONCE, None
    if plan.depthwise:
        return accumulate_in_place(*plan.loops), UNPACK_GROUPS
    return (ACCUMULATE_GROUPS, UNPACK_GROUPS) if plan.grouped else (ACCUMULATE, UNPACK)


def gathering(
    plan: Plan,
    geometry: ConvGeometry,
    source: FloatArray,
    weights: Weights,
    bias: FloatArray | None,
    target: FloatArray | None,
    *,
    loaded: Loaded = PLAIN,
    finished: Finished = UNTOUCHED,
) -> Job:
    """Return what packs the weights and runs the loop nest of a gather.

    Where there is no target, results are only pooled: a task's are in its working memory, or all of
    them in what threads share.
    """
    plain, points, start = plan.plain_size, plan.points_size, plan.start_size
    pack, gather = _gathering(plan)
    before = [Phase(pack, plan.packing_tasks, team_for((plain + points) * PACKING_WORK))]
    after = [] if finished.moments is None else [Phase(MERGE_MOMENTS, 1, 1)]
    pooling = finished.pooling
    in_bands = pooling is not None and plan.keeps_together(pooling.pool.height.stride)
    if pooling is not None and not in_bands:
        after.append(Phase(TAKE_WINNERS, geometry.batch, _team(geometry)))
    whole_tasks = plan.depthwise or plan.grouped or plan.transforms
    passing = target is None and in_bands and not whole_tasks
    whole = math.prod(geometry.y_shape) if target is None and not passing else 0
    size = plain + points + start
    kept = weights.in_pieces and not plan.transforms and keeps(size * source.itemsize)

    def entries(shared: FloatArray) -> list[Any]:
        memory = empty((size,), source.dtype) if kept else shared[whole:]
        packed, transformed = memory[:plain], memory[plain : plain + points]
        table: list[Any] = [0] * ENTRIES
        if kept:
            table[BITS : IS_PACKED + 1] = kept_entries(weights.flat, plan.packing_tasks)
        table[:LOAD] = loaded.entries(source)
        table[SHAPES : SEGMENTS + 1] = plan.entries
        table[SLOTS : SLOTTED + 1] = finished.slots, plan.slots
        table[SLOT_PIXELS : MERGED + 1] = plan.slot_pixels, finished.moments
        table[WEIGHTS], table[START] = transformed if points else packed, memory[plain + points :]
        table[BIAS : BIASES + 1] = counted(None if bias is None else flat_parameter(bias))
        table[TARGET : MOMENTS + 1] = finished.entries(shared[:whole] if whole else target)
        table[FILTERS : FILTERS_SIZE + 1] = (*weights[:3], len(weights.flat))
        if pooling is not None:
            table[POOLS_BANDS : PASSING + 1] = in_bands, *pooling.entries(), passing
        table[TAPS : POINTS + 1] = *plan.taps_entries, packed, transformed
        return table

    nest = Phase(gather, plan.tasks, _team(geometry))
    window, lanes = geometry.height.kernel * geometry.width.kernel, lanes_of(source.dtype)
    own = max(plan.work + (plan.band_size if passing else 0), block_size(window, lanes))
    return Job(before, nest, after, whole + (0 if kept else size), own, entries)


def accumulating(
    plan: WeightPlan,
    geometry: ConvGeometry,
    source: FloatArray,
    grad: FloatArray,
    out: FloatArray,
    *,
    read: Loaded = PLAIN,
    pulled: Loaded = PLAIN,
    slots: NDArray[np.float64] | None = None,
) -> Job:
    """Return what runs the loop nest of a weight gradient and writes it, flat."""
    accumulate, unpack = _accumulating(plan)
    before = [] if slots is None else [Phase(CLEAR_SLOTS, 1, 1)]
    size = max(plan.parts * plan.size, 1)
    if plan.transforms:
        before.append(Phase(TRANSFORM_BOTH, plan.transforms, _team(geometry)))

    def entries(shared: FloatArray) -> list[Any]:
        table: list[Any] = [0] * ENTRIES
        table[:LOAD] = read.entries(source)
        table[LOAD : 2 * LOAD] = pulled.entries(grad)
        table[SHAPES], table[SEGMENTS] = plan.entries
        table[SLOTS : SLOTTED + 1] = slots, 0 if slots is None else slots.size
        table[PARTIALS : PARTIALS_SIZE + 1] = shared, plan.parts, plan.size
        table[GRAD_FILTERS] = out
        return table

    nest = Phase(accumulate, plan.tasks, _team(geometry), groups=plan.groups)
    after = []
    if unpack is not None:
        after.append(Phase(unpack, plan.blocks, team_for(size * PACKING_WORK)))
    return Job(before, nest, after, size, plan.work, entries)


def run_accumulate(
    geometry: ConvGeometry,
    source: FloatArray,
    grad: FloatArray,
    out: FloatArray,
    *,
    read: Loaded = PLAIN,
    pulled: Loaded = PLAIN,
    grad_bias: FloatArray | None = None,
    beside: tuple[Plan, Job] | None = None,
) -> None:
    """Sum a weight gradient, and the bias's if there is one.

    What there is to do ``beside`` reads the same images, and runs together with it if both go from
    image to image: the gradients of 16 to 32 channels of 28×28, 128 images, 6.5 ms one after the
    other, now 6.1. (In turns of all the images of a partial result, a training step of
    ``mnist_cnn`` took 2 % longer at batch 128, 7 % at 512, 10 % at 1024.)
    """
    others = [] if beside is None else [beside[1]]
    if geometry.batch == 0:
        also(out.fill, 0)
        if grad_bias is not None:
            also(grad_bias.fill, 0)
        if others:
            run_jobs(others, source.dtype)
        return
    plan = weight_plan(geometry, source.dtype, read, pulled)
    slots = None if grad_bias is None else np.empty((plan.slots, geometry.out_channels))
    flat = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    arguments = plan, geometry, source, grad, flat.reshape(-1)
    job = accumulating(*arguments, read=read, pulled=pulled, slots=slots)
    if beside is not None and plan.groups == plan.parts and beside[0].parts == 1:
        run_jobs([job, *others], source.dtype)
    else:
        for each in (job, *others):
            run_jobs([each], source.dtype)
    if flat is not out:
        also(np.copyto, out, flat)
    if grad_bias is not None and slots is not None:
        add_up(slots, grad_bias)
