"""Tables for depthwise convolutions: which taps a row of targets has, and which of them clip.

Forward and backward to the input are the same gathering loop nest under different tables
(``axes.forward_gather``, ``axes.backward_gather``). Nothing is padded: taps outside the image are
left out, for a whole row at once above and below it, pixel by pixel left and right of it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.backends.numba.axes import Gather, backward_gather, forward_gather
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.geometry import ConvGeometry

Table = NDArray[np.int64]

LEAST_TASKS = 16
"""Bands of rows that a small batch is cut into, so that it uses all cores."""

# What ``Plan.sizes`` holds, in elements, rows or pixels.
(
    TASKS,
    BANDS,
    BAND_ROWS,
    CHANNELS,
    SOURCE_ROWS,
    SOURCE_COLUMNS,
    TARGET_ROWS,
    TARGET_COLUMNS,
    SOURCE_ROW_STEP,
    SOURCE_COLUMN_STEP,
    TARGET_ROW_STEP,
    TARGET_COLUMN_STEP,
    LOW_ROW,
    LOW_COLUMN,
    SCRATCH_COLUMNS,
    BLOCK_ROWS,
) = range(16)

# What a row of ``Plan.phases`` holds: its taps, the taps that one row of the window has, its first
# target column, how many, and which of them no tap leaves the image of.
FIRST_TAP, END_TAP, TAPS_ACROSS, FIRST_COLUMN, COLUMNS, WHOLE_BEGIN, WHOLE_END = range(7)

# What a row of ``Plan.taps`` holds: the distance of the source pixel that it takes from the phase's
# place, in rows, columns and elements.
ROW, COLUMN, OFFSET = range(3)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the jitted loop nests read; ``order`` lists the window's taps as ``taps`` has them."""

    sizes: Table
    phases: Table
    taps: Table
    order: Table


SCRATCH_BYTES = 48 * 1024
"""What the source rows of one vector of channels may take that the weight gradient copies."""

TAP_BLOCK = 9
"""Taps whose sums the weight gradient keeps in registers at once: ``taps`` is filled up to it."""


@functools.lru_cache(maxsize=256)
def forward_plan(geometry: ConvGeometry) -> Plan:
    """Plan the gathering of y from x."""
    return _plan(geometry, forward_gather(geometry.height), forward_gather(geometry.width))


@functools.lru_cache(maxsize=256)
def backward_plan(geometry: ConvGeometry) -> Plan:
    """Plan the gathering of x's gradient from y's."""
    return _plan(geometry, backward_gather(geometry.height), backward_gather(geometry.width))


def _plan(geometry: ConvGeometry, rows: Gather, columns: Gather) -> Plan:
    C, W = geometry.channels, columns.source_size
    phases: list[tuple[int, ...]] = []
    taps: list[tuple[int, ...]] = []
    order: list[int] = []
    for row_phase in rows.phases:
        for phase in columns.phases:
            first = len(taps)
            for p, row in row_phase.taps:
                for q, column in phase.taps:
                    taps.append((row, column, (row * W + column) * C))
                    order.append(p * geometry.width.kernel + q)
            count = -(-(columns.target_size - phase.first) // columns.target_step)
            shifts = [shift for _, shift in phase.taps]
            whole = _whole(shifts, count, columns)
            phases.append((first, len(taps), len(shifts), phase.first, count, *whole))
    band_rows = _band_rows(geometry.batch, rows.target_size)
    bands = -(-rows.target_size // band_rows)
    sizes = (
        geometry.batch * bands,
        bands,
        band_rows,
        C,
        rows.source_size,
        columns.source_size,
        rows.target_size,
        columns.target_size,
        rows.source_step,
        columns.source_step,
        rows.target_step,
        columns.target_step,
        rows.low,
        columns.low,
        columns.scratch(columns.target_size),
        _block_rows(rows, columns),
    )
    taps += taps[-1:] * (-len(taps) % TAP_BLOCK)
    return Plan(_table(sizes), _table(phases), _table(taps).reshape(-1, 3), _table(order))


def _whole(shifts: list[int], count: int, columns: Gather) -> tuple[int, int]:
    """Return the range of a phase's columns whose taps all lie in the image."""
    low, high = min(shifts, default=0), max(shifts, default=0)
    begin = min(count, max(0, -(low // columns.source_step)))
    end = (columns.source_size - 1 - high) // columns.source_step + 1
    return begin, max(begin, min(count, end))


def _band_rows(batch: int, rows: int) -> int:
    bands = -(-LEAST_TASKS // max(1, batch))
    return max(1, rows // bands)


def _block_rows(rows: Gather, columns: Gather) -> int:
    """Choose target rows for which the weight gradient copies the source of a channel vector."""
    row_bytes = columns.scratch(columns.target_size) * REGISTER_BYTES
    count = 1
    while count < rows.target_size and rows.scratch(count + 1) * row_bytes <= SCRATCH_BYTES:
        count += 1
    return count


def _table(values: object) -> Table:
    return np.array(values, dtype=np.int64)
