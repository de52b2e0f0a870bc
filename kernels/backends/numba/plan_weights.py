"""The plan of a weight gradient: the tasks of the forward pass, summed into partial results."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.backends.numba import winograd_cost
from kernels.backends.numba.axes import forward_gather
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.packing import PACK_CHANNELS
from kernels.backends.numba.plan import Gathering, Plan, cycles_of, is_winograd, plan_gathering
from kernels.backends.numba.plan_cuts import LEAST_TASKS
from kernels.backends.numba.plan_tables import (
    COPIED,
    IN_PLACE,
    IN_PLACE_BUT_LAST,
    SHAPE,
    Table,
    pixel_step,
    records,
)
from kernels.backends.numba.plan_terms import MOST_TERMS, pairs, steps, tap_offsets
from kernels.backends.numba.plan_weight_rows import pairing, weight_rows
from kernels.backends.numba.points import apart
from kernels.backends.numba.tasks import fixed
from kernels.backends.numba.winograd_cost import POINTS, TILE
from kernels.geometry import ConvGeometry

MOST_PARTIALS = 16
PARTIAL_BYTES = 2**20
"""Limits to the partial weight gradients that are summed side by side. With 2 MiB, 8 images of
28×28, 128 to 256 channels through 1×1 of stride 2 would take 1.11, others the same."""

SUMS_BYTES, WINOGRAD_SUMS_BYTES = 320 * 1024, 640 * 1024
"""What the sums of one of them may take; of wider ones a task does some of the source channels. Of
these it loads no others, but all target channels: by Winograd's algorithm these are transformed for
each part, and 2 vectors of source channels are the least."""


FEW_TILES = 32
"""Tiles in all, up to which there are one or two tasks: then each does 2 vectors of the source
channels. An image of 14×14, 64 channels to 64: 67 µs, otherwise 106."""

FEW_PIXELS, MANY_SUMS = 256, 512
"""Pixels in all up to which tasks are parts of the source channels alone, where there are so many
sums for each pixel: of bands each has all of these, to be added up. On 2 threads of a Xeon (Emerald
Rapids), an image of 14×14 with stride 2: 256 channels to 256 through 1×1 0.68 of the time, 128 to
128 through 3×3 0.74. With 334 sums a pixel it was 0.87 to 1.06, with 167 1.25."""

LEAST_PARTS, FEW_VECTORS = 4, 2
"""How many such tasks there have to be, and the vectors of source channels of each."""


@dataclass(frozen=True)
class WeightPlan:
    """A plan for the weight gradient: arrays for the tasks, and sizes for Python.

    ``groups`` of tasks accumulate, ``parts`` for each part of the source channels; ``blocks`` are
    unpacked. A group has a task for each band of images, or is one. If there are ``transforms``,
    see ``plan_at_once``, these are tasks that come first.
    """

    shape: Table
    segments: Table
    parts: int
    groups: int
    tasks: int
    blocks: int
    size: int
    work: int
    cycles: tuple[float, float] | None
    transforms: int = 0

    @property
    def slots(self) -> int:
        """Tasks that each add up some pixels, for a bias's gradient."""
        return self.transforms or self.parts

    @functools.cached_property
    def grouped(self) -> int:
        """Vectors of groups, 0 if vectors do not reach across them."""
        return int(self.shape["grouped"][0])

    @functools.cached_property
    def depthwise(self) -> int:
        """Whether groups of few channels are summed in place, see ``depthwise_weight``."""
        return int(self.shape["depthwise"][0])

    @functools.cached_property
    def loops(self) -> tuple[int, int, int, bool]:
        """What decides on the inner loops of ``grouped_in_place``."""
        s = self.shape[0]
        sources = int(s["in_group"])
        return sources, int(s["out_group"]), int(s["sliding"]), bool(s["terms"] > sources)

    @functools.cached_property
    def entries(self) -> tuple[Any, ...]:
        """The entries SHAPES and SEGMENTS."""
        return fixed(self.shape, self.segments)


@functools.lru_cache(maxsize=512)
def weight_plan(geometry: ConvGeometry, lanes: int) -> WeightPlan:
    """Plan the weight gradient in the bands of the forward pass."""
    forward = _forward_for_weights(geometry, lanes)
    shape = np.zeros(2, SHAPE)
    shape[0] = forward.shape[0]
    s, g = shape[0], shape[1]
    s["row"] = -(-s["out_group"] // lanes) * lanes
    s["parts"] = -(-s["source_channels"] // s["part_channels"])
    s["block_rows"] = max(1, MOST_TERMS // max(1, s["target_columns"]))
    place_gradients(s, g, lanes)
    s["paired"], s["unused"] = pairing(s, geometry, lanes)
    taps = geometry.height.kernel * geometry.width.kernel
    all_alike = taps == 1 or s["source_channels"] % s["part_channels"] == 0
    s["ascending"] = all_alike and s["unused"] == 0
    total = int((s["groups"] * s["terms"] + (s["unused"] > 0)) * s["row"])
    if s["winograd"]:
        total = POINTS * apart(int(s["in_group"] * s["row"]), lanes)
    tasks = -(-geometry.batch // int(s["chunk"])) * int(s["bands"])
    across, vectors = -(-int(s["in_group"]) // PACK_CHANNELS), -(-int(s["out_group"]) // lanes)
    blocks = geometry.groups * across * vectors
    unpacking = (taps * PACK_CHANNELS + 18) * lanes
    if s["grouped"]:
        blocks = int(s["grouped"])
        total = blocks * int(s["out_group"] * s["terms"]) * lanes
        unpacking = int(s["terms"]) * lanes
    most = max(1, PARTIAL_BYTES // (4 * total), -(-4 // s["parts"]))
    segments, terms = _winograd_terms(s) if s["winograd"] else _direct_terms(s, geometry, lanes)
    s["first_term"], s["a_step"] = len(segments), geometry.width.stride * s["pixel"]
    parts = power_of_two(min(tasks, -(-MOST_PARTIALS // int(s["parts"])), int(most)))
    return WeightPlan(
        records(shape),
        pairs(segments, terms),
        parts=parts,
        groups=parts * int(s["parts"]),
        tasks=(parts if s["grouped"] else tasks) * int(s["parts"]),
        blocks=blocks,
        size=total,
        work=max(int(s["work"]), unpacking),
        cycles=forward.cycles,
    )


def power_of_two(limit: int) -> int:
    """Return the largest power of two up to a limit: 7 parts keep 2 threads busy for 4 of them."""
    return 1 << max(1, limit).bit_length() - 1


def place_gradients(s: Any, g: Any, lanes: int) -> None:
    """Fill in how the gradients of a task's target pixels lie behind its source pixels.

    If these are all they load, tasks read them where they are: nothing is around them. The weight
    gradient of 1×28×28 to 16 channels took 61 µs with a copy on 2 threads of Zen 5, now 45; of
    3×224×224 to 64 4.8 ms, now 4.1.
    """
    g["source_rows"], g["source_columns"] = s["target_rows"], s["target_columns"]
    g["source_channels"] = s["target_channels"]
    held = int(s["grouped"] * s["out_group"]) * lanes or int(s["target_channels"])
    g["pixel"] = pixel_step(held, lanes)
    g["scratch_rows"] = g["band_step"] = s["band_rows"]
    g["scratch_columns"] = TILE * s["tiles_across"] if s["winograd"] else s["target_columns"]
    if g["pixel"] == s["target_channels"] and not s["grouped"] and not s["winograd"]:
        g["in_place"] = IN_PLACE if s["out_group"] % lanes == 0 else _but_for_the_last(s, lanes)
        g["images"], g["chunk"], g["bands"] = s["images"], s["chunk"], s["bands"]
    g["scratch_place"] = s["work"]
    size = s["chunk"] * g["scratch_rows"] * g["scratch_columns"] * g["pixel"]
    s["work"] += -(-(size + s["panel"]) // lanes) * lanes


def _but_for_the_last(s: Any, lanes: int) -> int:
    """Return where a gradient is read whose vectors reach behind a pixel's channels.

    Behind those of the last task there may be nothing: they are copied, and have to be a vector.
    """
    rows = s["target_rows"] - (s["bands"] - 1) * s["band_rows"]
    elements = rows * s["target_columns"] * s["target_channels"]
    return IN_PLACE_BUT_LAST if elements >= lanes else COPIED


def _forward_for_weights(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the forward pass by the algorithm that suits the weight gradient."""
    what = Gathering.forward(geometry, lanes)
    cycles = cycles_of(what, winograd_cost.weight_cycles)
    channels = _part_channels(geometry, is_winograd(cycles), lanes)
    beside = pixel_step(what.target_channels, lanes)
    what = dataclasses.replace(what, part_channels=channels, beside=beside)
    shares = max(4, -(-what.source_channels // channels))
    if is_winograd(cycles):
        shares = 4 * -(-what.target_channels // (PANEL_VECTORS * lanes))
    elif _few_pixels(geometry, lanes):
        shares = max(shares, LEAST_TASKS)  # so that images are not cut
    return plan_gathering(what, cycles, shares)


def _part_channels(geometry: ConvGeometry, winograd: bool, lanes: int) -> int:
    """Return how many source channels a task does: vectors of them, or all."""
    C = geometry.channels
    if geometry.groups > 1:
        return C
    points = POINTS if winograd else geometry.height.kernel * geometry.width.kernel
    sums = 4 * points * C * geometry.out_channels
    least, most = (2, WINOGRAD_SUMS_BYTES) if winograd else (1, SUMS_BYTES)
    if winograd and _tiles(geometry) <= FEW_TILES:
        return min(C, least * lanes)
    vectors = -(-C // lanes)
    together = max(least, -(-vectors // -(-sums // most)))
    if not winograd and _few_pixels(geometry, lanes):
        together = min(together, FEW_VECTORS)
    return min(C, together * lanes)


def _few_pixels(geometry: ConvGeometry, lanes: int) -> bool:
    """Tell whether tasks are parts of the source channels alone, and add to no others' sums."""
    pixels = geometry.batch * geometry.height.outputs * geometry.width.outputs
    window = geometry.height.kernel * geometry.width.kernel
    sums = window * geometry.channels * geometry.out_channels
    enough = geometry.groups == 1 and geometry.channels >= LEAST_PARTS * FEW_VECTORS * lanes
    return enough and pixels <= FEW_PIXELS and sums >= MANY_SUMS * pixels


def _tiles(geometry: ConvGeometry) -> int:
    """Return the tiles of Winograd's algorithm in all images."""
    return geometry.batch * -(-geometry.height.outputs // TILE) * -(-geometry.width.outputs // TILE)


def _winograd_terms(s: Any) -> tuple[Table, Table]:
    """Return a segment of each number of tiles, and where the terms and their sums begin."""
    tiles = int(s["chunk"] * s["tiles_down"] * s["tiles_across"])
    return steps(tiles + 1, 0, 1), steps(int(s["part_channels"]), 1, int(s["row"]))


def _direct_terms(s: Any, geometry: ConvGeometry, lanes: int) -> tuple[Table, Table]:
    """Return a task's rows of pixels as segments, and where the terms and their sums begin."""
    rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
    image = np.arange(int(s["chunk"]))[:, None] * int(s["scratch_rows"])
    row = image + np.arange(int(s["band_rows"])) * rows.source_step
    segments = np.zeros((row.size, 2), np.int64)
    segments[:, 0] = row.reshape(-1) * int(s["scratch_columns"] * s["pixel"])
    segments[:, 1] = columns.target_size
    taps = tap_offsets(s, (rows, rows.phases[0]), (columns, columns.phases[0]))
    return segments, weight_rows(s, geometry, taps, lanes)
