"""From arrays to the loop nests of a convolution: packed weights, working memory, the call."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba import threads
from kernels.backends.numba.accumulating import ACCUMULATE
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
    POINTS,
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
from kernels.backends.numba.depthwise import GATHER_DEPTHWISE
from kernels.backends.numba.depthwise_weight import ACCUMULATE_DEPTHWISE
from kernels.backends.numba.finishing import CLEAR_SLOTS, MERGE_MOMENTS
from kernels.backends.numba.gathering import GATHER
from kernels.backends.numba.grouped import ACCUMULATE_GROUPS, GATHER_GROUPS
from kernels.backends.numba.grouped_packing import PACK_GROUPS, UNPACK_GROUPS
from kernels.backends.numba.keeping import keeps, kept_entries
from kernels.backends.numba.memory import empty, flat_parameter
from kernels.backends.numba.operands import PLAIN, UNTOUCHED, Finished, Loaded, counted
from kernels.backends.numba.packing import PACK, UNPACK
from kernels.backends.numba.plan import Plan
from kernels.backends.numba.plan_weights import WeightPlan
from kernels.backends.numba.reduction import add_up
from kernels.backends.numba.tasks import Phase, Task, run, team_for
from kernels.backends.numba.workspace import Borrowed
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
    """Return what packs the weights of a gather, and what runs it."""
    if plan.depthwise:
        return PACK_GROUPS, GATHER_DEPTHWISE
    return (PACK_GROUPS, GATHER_GROUPS) if plan.grouped else (PACK, GATHER)


def _accumulating(plan: WeightPlan) -> tuple[Task, Task]:
    """Return what sums a weight gradient, and what unpacks it."""
    if plan.depthwise:
        return ACCUMULATE_DEPTHWISE, UNPACK_GROUPS
    return (ACCUMULATE_GROUPS, UNPACK_GROUPS) if plan.grouped else (ACCUMULATE, UNPACK)


def _most(team: int) -> int:
    """Return how many threads' working memory a team needs."""
    return 1 if team == 1 else threads.most()


def run_gather(
    plan: Plan,
    geometry: ConvGeometry,
    source: FloatArray,
    weights: Weights,
    bias: FloatArray | None,
    target: FloatArray,
    *,
    loaded: Loaded = PLAIN,
    finished: Finished = UNTOUCHED,
) -> None:
    """Pack the weights and run the loop nest of a gather."""
    team = _team(geometry)
    plain, points, start = plan.plain_size, plan.points_size, plan.start_size
    pack, gather = _gathering(plan)
    phases = [
        Phase(pack, plan.packing_tasks, team_for((plain + points) * PACKING_WORK)),
        Phase(gather, plan.tasks, team),
    ]
    if finished.moments is not None:
        phases.append(Phase(MERGE_MOMENTS, 1, 1))
    weights_size = plain + points + start
    kept = weights.in_pieces and keeps(weights_size * source.itemsize)
    borrows = 0 if kept else weights_size
    with Borrowed(borrows + plan.work * _most(team), source.dtype) as borrowed:
        memory = empty((weights_size,), source.dtype) if kept else borrowed
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
        table[TARGET : MOMENTS + 1] = finished.entries(target)
        table[FILTERS : FILTERS_SIZE + 1] = (*weights[:3], len(weights.flat))
        table[TAPS : POINTS + 1] = *plan.taps_entries, packed, transformed
        run(phases, table, borrowed[borrows:], plan.work)


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
        also(out.fill, 0)
        return
    plan = weight_plan(geometry, source.dtype, read, pulled)
    slots = None if grad_bias is None else np.empty((plan.parts, geometry.out_channels))
    sums = max(plan.parts * plan.size, 1)
    flat = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    team = _team(geometry)
    accumulate, unpack = _accumulating(plan)
    phases = [
        Phase(accumulate, plan.tasks, team),
        Phase(unpack, plan.blocks, team_for(sums * PACKING_WORK)),
    ]
    if slots is not None:
        phases.insert(0, Phase(CLEAR_SLOTS, 1, 1))
    members = _most(max(phase.team for phase in phases))
    with Borrowed(sums + plan.work * members, source.dtype) as memory:
        table: list[Any] = [0] * ENTRIES
        table[:LOAD] = read.entries(source)
        table[LOAD : 2 * LOAD] = pulled.entries(grad)
        table[SHAPES], table[SEGMENTS] = plan.entries
        table[SLOTS : SLOTTED + 1] = slots, 0 if slots is None else slots.size
        table[PARTIALS : PARTIALS_SIZE + 1] = memory[:sums], plan.parts, plan.size
        table[GRAD_FILTERS] = flat.reshape(-1)
        run(phases, table, memory[sums:], plan.work)
    if flat is not out:
        also(np.copyto, out, flat)
    if grad_bias is not None and slots is not None:
        add_up(slots, grad_bias)
