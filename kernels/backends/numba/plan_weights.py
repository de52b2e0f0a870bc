"""The plan of a weight gradient: the tasks of the forward pass, summed into partial results."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.backends.numba import winograd_cost
from kernels.backends.numba.axes import forward_gather
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.packing import PACK_CHANNELS
from kernels.backends.numba.plan import Gathering, Plan, plan_gathering
from kernels.backends.numba.plan_tables import SHAPE, Table, pixel_step, records
from kernels.backends.numba.plan_terms import MOST_TERMS, pairs, steps, tap_offsets
from kernels.backends.numba.winograd_cost import POINTS, TILE
from kernels.geometry import ConvGeometry

MOST_PARTIALS = 16
PARTIAL_BYTES = 16 * 2**20
"""Limits to the partial weight gradients that are summed side by side."""

SUMS_BYTES = 640 * 1024
"""What the sums of one of them may take; of wider ones a task does some of the target channels."""


@dataclass(frozen=True)
class WeightPlan:
    """A plan for the weight gradient: ``arrays`` for the jitted code, and sizes for Python."""

    arrays: tuple[Table, Table]
    parts: int
    size: int
    work: int
    unpack_work: int
    cycles: tuple[float, float] | None


@functools.lru_cache(maxsize=512)
def weight_plan(geometry: ConvGeometry, lanes: int) -> WeightPlan:
    """Plan the weight gradient in the bands of the forward pass."""
    forward = _forward_for_weights(geometry, lanes)
    shape = np.zeros(2, SHAPE)
    shape[0] = forward.shape[0]
    s, g = shape[0], shape[1]
    s["row"] = -(-s["out_group"] // lanes) * lanes
    g["source_rows"], g["source_columns"] = s["target_rows"], s["target_columns"]
    g["source_channels"] = s["target_channels"]
    g["pixel"] = pixel_step(int(s["target_channels"]), lanes)
    g["scratch_rows"] = g["band_step"] = s["band_rows"]
    g["scratch_columns"] = TILE * s["tiles_across"] if s["winograd"] else s["target_columns"]
    g["scratch_place"] = s["work"]
    size = s["chunk"] * g["scratch_rows"] * g["scratch_columns"] * g["pixel"]
    s["work"] += -(-(size + s["panel"]) // lanes) * lanes
    s["block_rows"] = max(1, MOST_TERMS // max(1, s["target_columns"]))
    rows = POINTS * s["in_group"] if s["winograd"] else s["groups"] * s["terms"]
    total = int(rows * s["row"])
    tasks = -(-geometry.batch // int(s["chunk"])) * int(s["bands"])
    s["part_panels"] = max(1, SUMS_BYTES // (4 * rows * s["panel"]))
    s["parts"] = -(-s["panels"] // s["part_panels"])
    blocks = geometry.groups * -(-int(s["in_group"]) // PACK_CHANNELS)
    taps = geometry.height.kernel * geometry.width.kernel
    most = max(1, PARTIAL_BYTES // (4 * total), -(-4 // s["parts"]))
    rows, terms = _winograd_terms(s) if s["winograd"] else _direct_terms(s, geometry)
    s["first_term"], s["a_step"] = len(rows), geometry.width.stride * s["pixel"]
    return WeightPlan(
        (records(shape), pairs(rows, terms)),
        parts=max(1, min(tasks, -(-MOST_PARTIALS // s["parts"]), most)),
        size=total,
        work=int(s["work"]),
        unpack_work=blocks * (taps * PACK_CHANNELS + 18) * lanes,
        cycles=forward.cycles,
    )


def _forward_for_weights(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the forward pass by the algorithm that suits the weight gradient."""
    shares = 4 * -(-geometry.out_channels // (PANEL_VECTORS * lanes))
    what = Gathering.forward(geometry, lanes)
    return plan_gathering(what, winograd_cost.weight_cycles, shares)


def _winograd_terms(s: Any) -> tuple[Table, Table]:
    """Return a segment of each number of tiles, and where the terms and their sums begin."""
    tiles = int(s["chunk"] * s["tiles_down"] * s["tiles_across"])
    return steps(tiles + 1, 0, 1), steps(int(s["source_channels"]), 1, int(s["row"]))


def _direct_terms(s: Any, geometry: ConvGeometry) -> tuple[Table, Table]:
    """Return a task's rows of pixels as segments, and where the terms and their sums begin."""
    rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
    image = np.arange(int(s["chunk"]))[:, None] * int(s["scratch_rows"])
    row = image + np.arange(int(s["band_rows"])) * rows.source_step
    segments = np.zeros((row.size, 2), np.int64)
    segments[:, 0] = row.reshape(-1) * int(s["scratch_columns"] * s["pixel"])
    segments[:, 1] = columns.target_size
    taps = tap_offsets(s, (rows, rows.phases[0]), (columns, columns.phases[0]))
    terms = steps(len(taps) * int(s["in_group"]), 0, int(s["row"]))
    terms[:, 0] = np.add.outer(taps, np.arange(int(s["in_group"]))).reshape(-1)
    return segments, terms
