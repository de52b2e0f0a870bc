"""What the loop nests of a convolution read: sizes, tables of offsets, and the algorithm chosen.

Everything here is decided in plain Python from the shapes alone, so that results have the same bits
whatever the number of threads. Sizes are in elements of flat channels-last memory.

A gather (forward, or backward to the input) is cut into tasks: some images (``chunk``), a band of
target rows, a part of the target's channels. The source rows that a task needs are copied, with
zeros around them, into a scratch buffer, to which all offsets refer. The weight gradient is cut
into the same bands; its tasks are summed into a few partial results.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba import winograd_cost
from kernels.backends.numba.axes import Gather, backward_gather, forward_gather
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.packing import PACK_CHANNELS
from kernels.backends.numba.plan_tables import BLOCK, PHASE, SHAPE, records
from kernels.backends.numba.winograd_cost import POINTS, TASK_TILES, TILE
from kernels.geometry import ConvGeometry

Table = NDArray[Any]

SCRATCH_BYTES = 256 * 1024
"""What a direct task's source rows may take, in float32: they have to stay in the L2 cache."""

LEAST_TILES = 8
"""Tiles of a Winograd task below which its products would be too short."""

DIRECT_SHARES = 4
"""Parts of the target channels that make tasks before images are cut into bands."""

LEAST_TASKS = 16
"""Tasks are made smaller until there are so many, so that small batches use all cores."""

MOST_TERMS = 512
"""Terms of the sums that are added up in registers before they go to memory: rounding errors grow
with a block's length and the number of blocks, not with their product."""

MOST_PARTIALS = 16
PARTIAL_BYTES = 16 * 2**20
"""Limits to the partial weight gradients that are summed side by side."""

SUMS_BYTES = 640 * 1024
"""What the sums of one of them may take; of wider ones a task does some of the target channels."""


@dataclass(frozen=True)
class Plan:
    """A plan, as ``arrays`` for the jitted code, and what else Python needs of it.

    ``taps`` lists the window's taps in the order in which the weights are to be packed;
    ``cycles`` are the model's for the direct and for Winograd's algorithm, where there is a choice.
    """

    shape: Table
    phases: Table
    blocks: Table
    segments: Table
    taps: Table
    cycles: tuple[float, float] | None

    @property
    def arrays(self) -> tuple[Table, Table, Table, Table]:
        """What the loop nests take."""
        return self.shape, self.phases, self.blocks, self.segments

    def __getattr__(self, name: str) -> int:
        """Return a field of the shape."""
        if name not in (SHAPE.names or ()):
            raise AttributeError(name)
        value = self.__dict__[name] = int(self.shape[name][0])
        return value

    @property
    def tasks(self) -> int:
        """Number of tasks of a gather."""
        return -(-self.images // self.chunk) * self.bands * self.parts

    @property
    def slots(self) -> int:
        """Tasks that differ in their pixels: each has a slot for its sums."""
        return self.tasks // self.parts

    @functools.cached_property
    def slot_pixels(self) -> Table:
        """Target pixels of each of them."""
        images = np.arange(0, self.images, self.chunk)
        rows = np.arange(self.bands) * self.band_rows
        images = np.minimum(self.chunk, self.images - images)
        rows = np.minimum(self.band_rows, self.target_rows - rows)
        return np.outer(images, rows * self.target_columns).reshape(-1)

    @functools.cached_property
    def plain_size(self) -> int:
        """Elements of the weights, packed for the direct algorithm."""
        return self.groups * self.panels * self.terms * self.panel

    @functools.cached_property
    def points_size(self) -> int:
        """Elements of the weights, transformed for Winograd's."""
        return POINTS * self.panels * self.source_channels * self.panel if self.winograd else 0


@functools.lru_cache(maxsize=512)
def forward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of y from x."""
    rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
    sizes = geometry, rows, columns, geometry.channels, geometry.out_channels, lanes
    return _plan(*sizes, _cycles(winograd_cost.gather_cycles, *sizes))


@functools.lru_cache(maxsize=512)
def backward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of x's gradient from y's."""
    rows, columns = backward_gather(geometry.height), backward_gather(geometry.width)
    sizes = geometry, rows, columns, geometry.out_channels, geometry.channels, lanes
    return _plan(*sizes, _cycles(winograd_cost.gather_cycles, *sizes))


@dataclass(frozen=True)
class WeightPlan:
    """A plan for the weight gradient: ``arrays`` for the jitted code, and sizes for Python."""

    arrays: tuple[Table, Table, Table]
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
    g["scratch_rows"] = g["band_step"] = s["band_rows"]
    g["scratch_columns"] = TILE * s["tiles_across"] if s["winograd"] else s["target_columns"]
    g["scratch_place"] = s["work"]
    size = s["chunk"] * g["scratch_rows"] * g["scratch_columns"] * g["source_channels"]
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
    segments = forward.segments if s["winograd"] else _weight_segments(forward, geometry)
    s["segments"] = len(segments)
    return WeightPlan(
        (records(shape), forward.phases, segments),
        parts=max(1, min(tasks, -(-MOST_PARTIALS // s["parts"]), most)),
        size=total,
        work=int(s["work"]),
        unpack_work=blocks * (taps * PACK_CHANNELS + 18) * lanes,
        cycles=forward.cycles,
    )


def _forward_for_weights(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the forward pass by the algorithm that suits the weight gradient."""
    rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
    C, O = geometry.channels, geometry.out_channels
    sizes = geometry, rows, columns, C, O, lanes
    shares = 4 * -(-O // (PANEL_VECTORS * lanes))
    return _plan(*sizes, _cycles(winograd_cost.weight_cycles, *sizes), shares)


def _cycles(
    model: Callable[..., tuple[float, float]],
    geometry: ConvGeometry,
    rows: Gather,
    columns: Gather,
    source_channels: int,
    target_channels: int,
    lanes: int,
) -> tuple[float, float] | None:
    """Return the model's cycles for either algorithm, None if only the direct one will do."""
    if not (winograd_cost.ENABLED and winograd_cost.fits(geometry)):
        return None
    sizes = geometry.batch, rows.target_size, columns.target_size
    return model(*sizes, source_channels, -(-target_channels // lanes), lanes)


def _weight_segments(forward: Plan, geometry: ConvGeometry) -> Table:
    """List the rows of pixels in a band, then the runs of terms."""
    phase = forward.phases[0]
    pixels = [(i * phase["a_row"], phase["columns"]) for i in range(forward.band_rows)]
    rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
    offsets = [
        ((p - rows.low) * forward.scratch_columns + q - columns.low) * forward.source_channels
        for _, p in rows.phases[0].taps
        for _, q in columns.phases[0].taps
    ]
    runs = _runs(offsets, forward.in_group, forward.groups == 1)
    return np.array(pixels + runs, np.int64).reshape(-1)


def lanes_of(dtype: np.dtype[Any]) -> int:
    """Elements of a vector register."""
    return REGISTER_BYTES // dtype.itemsize


def _plan(
    geometry: ConvGeometry,
    rows: Gather,
    columns: Gather,
    source_channels: int,
    target_channels: int,
    lanes: int,
    cycles: tuple[float, float] | None,
    shares: int | None = None,
) -> Plan:
    """Cut the work and make the tables."""
    winograd = cycles is not None and cycles[1] < cycles[0]
    groups = geometry.groups
    out_group, panel = target_channels // groups, PANEL_VECTORS * lanes
    panels = -(-out_group // panel)
    shape = np.zeros(1, SHAPE)
    values = {
        "images": geometry.batch,
        "groups": groups,
        "in_group": source_channels // groups,
        "out_group": out_group,
        "panels": panels,
        "panel": panel,
        "source_rows": rows.source_size,
        "source_columns": columns.source_size,
        "source_channels": source_channels,
        "target_rows": rows.target_size,
        "target_columns": columns.target_size,
        "target_channels": target_channels,
        "first_row": rows.low,
        "first_column": columns.low,
        "winograd": winograd,
    }
    cut = _winograd_cut if winograd else _direct_cut
    values |= cut(geometry.batch, rows, columns, source_channels, lanes, shares or panels)
    chunks = -(-geometry.batch // values["chunk"])
    values["part_panels"] = panels
    if groups == 1 and chunks * values["bands"] < LEAST_TASKS:
        values["part_panels"] = max(1, panels * chunks * values["bands"] // LEAST_TASKS)
    values["parts"] = -(-panels // values["part_panels"])
    values["band_step"] = values["band_rows"] // rows.target_step * rows.source_step
    for name, value in values.items():
        shape[name] = value
    phases, blocks, segments, taps = _tables(shape[0], rows, columns, groups, geometry.width.kernel)
    if winograd:
        longest = max(
            source_channels, values["chunk"] * values["tiles_down"] * values["tiles_across"]
        )
        segments = _lengths(longest)
    return Plan(records(shape), phases, blocks, segments, taps, cycles)


def _direct_cut(
    images: int, rows: Gather, columns: Gather, channels: int, lanes: int, shares: int
) -> dict[str, int]:
    """Cut images into bands whose scratch fits the cache: a multiple of the step."""
    width = columns.scratch(columns.target_size)
    steps = -(-rows.target_size // rows.target_step)
    wanted = -(-LEAST_TASKS // max(1, images * min(shares, DIRECT_SHARES)))
    steps = max(1, -(-steps // wanted))
    while steps > 1 and rows.scratch(steps * rows.target_step) * width * channels * 4 > (
        SCRATCH_BYTES
    ):
        steps -= 1
    band_rows = steps * rows.target_step
    scratch_rows = rows.scratch(band_rows)
    return {
        "chunk": 1,
        "band_rows": band_rows,
        "bands": -(-rows.target_size // band_rows),
        "scratch_rows": scratch_rows,
        "scratch_columns": width,
        "inner_place": scratch_rows * width * channels,
        "work": scratch_rows * width * channels + 2 * lanes,
    }


def _winograd_cut(
    images: int, rows: Gather, columns: Gather, channels: int, lanes: int, shares: int
) -> dict[str, int]:
    """Cut into whole rows of tiles, as many as make enough tasks; small images go together.

    Each task may still be cut into ``shares`` parts of the target's channels.
    """
    across, down = -(-columns.target_size // TILE), -(-rows.target_size // TILE)
    most = TASK_TILES
    chunk, tile_rows = _tiles_together(images, down, across, most)
    while most > LEAST_TILES and (
        -(-images // chunk) * -(-down // tile_rows) * shares < LEAST_TASKS
    ):
        most //= 2
        chunk, tile_rows = _tiles_together(images, down, across, most)
    bands = -(-down // tile_rows)
    tiles = chunk * tile_rows * across
    scratch_rows, scratch_columns = TILE * tile_rows + 2, TILE * across + 2
    source = chunk * scratch_rows * scratch_columns * channels
    transformed = POINTS * tiles * channels
    products = POINTS * tiles * PANEL_VECTORS * lanes
    return {
        "chunk": chunk,
        "band_rows": TILE * tile_rows,
        "bands": bands,
        "scratch_rows": scratch_rows,
        "scratch_columns": scratch_columns,
        "tiles_down": tile_rows,
        "tiles_across": across,
        "scratch_place": transformed + lanes,
        "products_place": transformed + source + 2 * lanes,
        "inner_place": transformed + source + products + 3 * lanes,
        "work": transformed + source + products + (POINTS + 8) * lanes,
    }


def _tiles_together(images: int, down: int, across: int, most: int) -> tuple[int, int]:
    """Return images and rows of tiles for a task of at most ``most`` tiles, or one row of them."""
    if down * across <= most:
        return max(1, min(images, most // (down * across))), down
    tile_rows = max(1, min(down, most // across))
    return 1, -(-down // -(-down // tile_rows))


def _tables(
    shape: Any, rows: Gather, columns: Gather, groups: int, kernel: int
) -> tuple[Table, Table, Table, Table]:
    """Make the tables of phases, blocks of terms, segments, and taps."""
    C, width, channels = shape["source_channels"], shape["scratch_columns"], shape["in_group"]
    phases, taps = [], []
    blocks: list[tuple[int, int, int]] = []
    segments: list[tuple[int, int]] = []
    terms = 0
    last_rows = rows.target_size - (shape["bands"] - 1) * shape["band_rows"]
    for row_phase in rows.phases:
        for column_phase in columns.phases:
            offsets = []
            for p, q_row in row_phase.taps:
                for q, q_column in column_phase.taps:
                    taps.append(p * kernel + q)
                    place = (q_row - rows.low) * width + q_column - columns.low
                    offsets.append(int(place * C))
            first_block = len(blocks)
            for before, run in _blocks(_runs(offsets, int(channels), groups == 1)):
                blocks.append((len(segments), len(segments) + len(run), terms + before))
                segments.extend(run)
            terms += len(offsets) * int(channels)
            first = row_phase.first * columns.target_size + column_phase.first
            phases.append(
                (
                    first * shape["target_channels"],
                    rows.count(row_phase, shape["band_rows"]),
                    rows.count(row_phase, last_rows),
                    columns.count(column_phase, columns.target_size),
                    columns.source_step * C,
                    rows.source_step * width * C,
                    columns.target_step * shape["target_channels"],
                    rows.target_step * columns.target_size * shape["target_channels"],
                    first_block,
                    len(blocks),
                )
            )
    shape["phases"], shape["terms"] = len(phases), terms
    return (
        records(np.array(phases, PHASE)),
        records(np.array(blocks, BLOCK)),
        np.array(segments, np.int64).reshape(-1),
        np.array(taps, np.int64),
    )


def _runs(offsets: list[int], channels: int, joined: bool) -> list[tuple[int, int]]:
    """Return the taps' terms as runs (offset, length) of at most MOST_TERMS."""
    runs: list[tuple[int, int]] = []
    for offset in offsets:
        if joined and runs and sum(runs[-1]) == offset and runs[-1][1] + channels <= MOST_TERMS:
            runs[-1] = (runs[-1][0], runs[-1][1] + channels)
            continue
        for start in range(0, channels, MOST_TERMS):
            runs.append((offset + start, min(MOST_TERMS, channels - start)))
    return runs


def _blocks(runs: list[tuple[int, int]]) -> list[tuple[int, list[tuple[int, int]]]]:
    """Group runs into blocks of at most MOST_TERMS terms, with the number of terms before."""
    blocks: list[tuple[int, list[tuple[int, int]]]] = [(0, [])]
    before = 0
    for run in runs:
        if blocks[-1][1] and before - blocks[-1][0] + run[1] > MOST_TERMS:
            blocks.append((before, []))
        blocks[-1][1].append(run)
        before += run[1]
    return blocks


def _lengths(longest: int) -> Table:
    """Return segments of the lengths 0, 1, 2, ... at the beginning of a row."""
    segments = np.zeros((longest + 1, 2), np.int64)
    segments[:, 1] = np.arange(longest + 1)
    return segments.reshape(-1)
