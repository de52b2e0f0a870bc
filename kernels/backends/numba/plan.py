"""Tables that turn a convolution, in either direction, into products for the micro-kernel.

Both directions gather: a target pixel is a sum over window taps of source pixels. Forward, target
pixel i takes source pixel ``i·stride + q``; backward to the input, the target pixels fall into
``stride`` phases, and pixel i of a phase takes source pixel ``i + q`` for just those taps whose
shift divides by the stride. So nothing is multiplied by the zeros of a dilated gradient.

Work is cut into bands of target rows. The source rows that a band needs are copied, with zeros
around them, into a scratch buffer, to which all offsets refer.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kernels.geometry import Axis, ConvGeometry

Table = NDArray[np.int64]

SCRATCH_BYTES = 96 * 1024
"""What a band's scratch buffer may take, in float32: it has to stay in the L2 cache."""

LEAST_TASKS = 16
"""Bands are made shorter until there are so many tasks, so that small batches use all cores."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Target pixels that take the same taps: ``(tap, source pixel of the first of them)``."""

    first: int
    taps: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """One axis of a convolution: target pixel i of a phase takes source ``i·source_step + q``."""

    target_size: int
    source_size: int
    target_step: int
    source_step: int
    phases: tuple[Phase, ...]

    @property
    def low(self) -> int:
        """Source pixel at the first place of the scratch buffer."""
        return min((q for phase in self.phases for _, q in phase.taps), default=0)

    def scratch(self, targets: int) -> int:
        """Length of the scratch buffer that ``targets`` target pixels need."""
        high = max((q for phase in self.phases for _, q in phase.taps), default=0)
        steps = -(-targets // self.target_step) - 1
        return steps * self.source_step + high - self.low + 1


def forward_gather(axis: Axis) -> Gather:
    """Gather outputs from inputs."""
    taps = tuple((k, k * axis.dilation - axis.before) for k in range(axis.kernel))
    return Gather(axis.outputs, axis.size, 1, axis.stride, (Phase(0, taps),))


def backward_gather(axis: Axis) -> Gather:
    """Gather gradients of inputs from gradients of outputs."""
    phases = []
    for first in range(min(axis.stride, axis.size)):
        shifts = ((k, first + axis.before - k * axis.dilation) for k in range(axis.kernel))
        taps = tuple((k, shift // axis.stride) for k, shift in shifts if not shift % axis.stride)
        phases.append(Phase(first, taps))
    return Gather(axis.size, axis.outputs, axis.stride, 1, tuple(phases))


class Plan(NamedTuple):
    """What the jitted loop nest reads; sizes in elements, offsets into flat NHWC memory.

    Phase p owns ``pixel_offsets[pixel_starts[p] : ...]``, of which a full band uses
    ``pixel_counts[0, p]`` and the last band of an image ``pixel_counts[1, p]``.
    """

    images: int
    bands: int
    groups: int
    source_rows: int
    source_columns: int
    source_channels: int
    target_rows: int
    target_columns: int
    target_channels: int
    band_rows: int
    band_step: int
    first_row: int
    first_column: int
    scratch_rows: int
    scratch_columns: int
    taps: Table
    pixel_starts: Table
    pixel_counts: Table
    pixel_offsets: Table
    target_offsets: Table
    tap_starts: Table
    tap_offsets: Table


@functools.lru_cache(maxsize=256)
def forward_plan(geometry: ConvGeometry) -> Plan:
    """Plan the gathering of y from x."""
    rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
    return _plan(geometry, rows, columns, geometry.channels, geometry.out_channels)


@functools.lru_cache(maxsize=256)
def backward_plan(geometry: ConvGeometry) -> Plan:
    """Plan the gathering of x's gradient from y's."""
    rows, columns = backward_gather(geometry.height), backward_gather(geometry.width)
    return _plan(geometry, rows, columns, geometry.out_channels, geometry.channels)


def _plan(
    geometry: ConvGeometry, rows: Gather, columns: Gather, source_channels: int, channels: int
) -> Plan:
    band_rows = _band_rows(rows, columns.scratch(columns.target_size) * source_channels, geometry)
    bands = -(-rows.target_size // band_rows)
    last_rows = rows.target_size - (bands - 1) * band_rows
    width = columns.scratch(columns.target_size)
    in_group = source_channels // geometry.groups
    pixels, targets, counts, taps, offsets = [], [], [], [], []
    for row_phase in rows.phases:
        for column_phase in columns.phases:
            i = np.arange(-(-(band_rows - row_phase.first) // rows.target_step))[:, None]
            j = np.arange(-(-(columns.target_size - column_phase.first) // columns.target_step))
            pixels.append((i * rows.source_step * width + j * columns.source_step).ravel())
            row = (row_phase.first + i * rows.target_step) * columns.target_size
            targets.append((row + column_phase.first + j * columns.target_step).ravel())
            last = -(-(last_rows - row_phase.first) // rows.target_step)
            counts.append((i.size * j.size, max(0, last) * j.size))
            for p, q_row in row_phase.taps:
                for q, q_column in column_phase.taps:
                    taps.append(p * geometry.width.kernel + q)
                    offsets.append((q_row - rows.low) * width + q_column - columns.low)
    tap_counts = [len(r.taps) * len(c.taps) * in_group for r in rows.phases for c in columns.phases]
    channel = np.arange(in_group)
    return Plan(
        images=geometry.batch,
        bands=bands,
        groups=geometry.groups,
        source_rows=rows.source_size,
        source_columns=columns.source_size,
        source_channels=source_channels,
        target_rows=rows.target_size,
        target_columns=columns.target_size,
        target_channels=channels,
        band_rows=band_rows,
        band_step=band_rows // rows.target_step * rows.source_step,
        first_row=rows.low,
        first_column=columns.low,
        scratch_rows=rows.scratch(band_rows),
        scratch_columns=width,
        taps=_table(taps),
        pixel_starts=_starts([full for full, _ in counts]),
        pixel_counts=np.ascontiguousarray(_table(counts).T),
        pixel_offsets=_table(np.concatenate(pixels) * source_channels),
        target_offsets=_table(np.concatenate(targets) * channels),
        tap_starts=_starts(tap_counts),
        tap_offsets=(_table(offsets)[:, None] * source_channels + channel).ravel(),
    )


def _band_rows(rows: Gather, scratch_row: int, geometry: ConvGeometry) -> int:
    """Choose target rows per band: a multiple of the step, from the shapes alone."""
    steps = -(-rows.target_size // rows.target_step)
    wanted = -(-LEAST_TASKS // max(1, geometry.batch))
    steps = max(1, steps // wanted)
    while steps > 1 and rows.scratch(steps * rows.target_step) * scratch_row * 4 > SCRATCH_BYTES:
        steps -= 1
    return steps * rows.target_step


def _table(values: object) -> Table:
    return np.array(values, dtype=np.int64)


def _starts(counts: list[int]) -> Table:
    return _table([0, *np.cumsum(counts)])
