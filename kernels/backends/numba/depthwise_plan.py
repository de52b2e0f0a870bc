"""Plans for depthwise convolutions: which taps a row of targets has, and which of them clip.

Forward and backward to the input are the same gathering loop nest under different tables
(``axes.forward_gather``, ``axes.backward_gather``). Nothing is copied or padded: taps outside the
image are left out, for a whole row at once above and below it, column by column left and right of
it. A phase is target pixels of one row and column phase: the range of its taps, row by row of the
window; how many of these ``taps_across`` a row has; its columns, and which of them no tap leaves
the image of. A tap is the source row that it takes, counted from the phase's; the distance in
elements of its pixel; and the range of the phase's columns for which it lies in the image.
"""

from __future__ import annotations

import functools

import numpy as np

from kernels.backends.numba.axes import Gather, backward_gather, forward_gather
from kernels.backends.numba.depthwise_sliding import ROWS, WIDTH
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.plan import Plan
from kernels.backends.numba.plan_tables import ROW_PHASE, SHAPE, TAP, Table, records
from kernels.geometry import ConvGeometry

LEAST_TASKS = 16
"""Bands of rows that a small batch is cut into, so that it uses all cores."""


def fits(geometry: ConvGeometry) -> bool:
    """Tell whether each channel of x makes just one channel of y."""
    return 1 < geometry.groups == geometry.channels == geometry.out_channels


@functools.lru_cache(maxsize=256)
def forward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of y from x."""
    axes = forward_gather(geometry.height), forward_gather(geometry.width)
    return _plan(geometry, *axes, lanes)


@functools.lru_cache(maxsize=256)
def backward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of x's gradient from y's."""
    axes = backward_gather(geometry.height), backward_gather(geometry.width)
    return _plan(geometry, *axes, lanes)


def _plan(geometry: ConvGeometry, rows: Gather, columns: Gather, lanes: int) -> Plan:
    C, kernel = geometry.channels, geometry.width.kernel
    phases: list[tuple[int, ...]] = []
    taps: list[tuple[int, ...]] = []
    order: list[int] = []
    for row_phase in rows.phases:
        for phase in columns.phases:
            first, count = len(taps), columns.count(phase, columns.target_size)
            spans = [inside(shift, count, columns) for _, shift in phase.taps]
            for p, row in row_phase.taps:
                for (q, column), span in zip(phase.taps, spans, strict=True):
                    taps.append((row, (row * columns.source_size + column) * C, *span))
                    order.append(p * kernel + q)
            begin = max((b for b, _ in spans), default=0)
            end = max(begin, min((e for _, e in spans), default=count))
            phases.append((first, len(taps), len(spans), phase.first, count, begin, end))
    sizes = sizes_of(geometry, rows, columns, lanes)
    sizes |= {"phases": len(columns.phases), "terms": len(taps)}
    zeros = -(-C // lanes) * lanes  # what window rows outside the image read
    sizes |= {"sliding": int(sliding(rows, columns)), "inner_place": zeros, "work": zeros + lanes}
    return Plan(
        shape_of(sizes),
        records(np.array(phases, ROW_PHASE)),
        np.empty(0, np.int64),
        records(np.array(taps, TAP)),
        np.array(order, np.int64),
        None,
    )


def sliding(rows: Gather, columns: Gather) -> bool:
    """Tell whether windows slide along a row, see ``depthwise_sliding``.

    Neighbours share all columns but one; the first window and the last one reach into the image.
    """
    width, low = len(columns.phases[0].taps), columns.low
    return (
        columns.source_step == columns.target_step == 1
        and width == columns.scratch(1) == WIDTH
        and max(len(phase.taps) for phase in rows.phases) <= ROWS
        and -width < low
        and width - 1 <= columns.target_size <= columns.source_size - low
    )


def inside(shift: int, count: int, axis: Gather) -> tuple[int, int]:
    """Return the range of a phase's rows or columns for which a tap lies in the image."""
    begin = min(count, max(0, -(shift // axis.source_step)))
    end = (axis.source_size - 1 - shift) // axis.source_step + 1
    return begin, max(begin, min(count, end))


def sizes_of(geometry: ConvGeometry, rows: Gather, columns: Gather, lanes: int) -> dict[str, int]:
    """Return the fields of the shape; a group is a channel, as in ``plan_grouped``."""
    C = geometry.channels
    band_rows = max(1, rows.target_size // -(-LEAST_TASKS // max(1, geometry.batch)))
    return {
        "depthwise": 1,
        "images": geometry.batch,
        "chunk": 1,
        "band_rows": band_rows,
        "bands": -(-rows.target_size // band_rows),
        "parts": 1,
        "groups": C,
        "in_group": 1,
        "out_group": 1,
        "panel": PANEL_VECTORS * lanes,
        "grouped": -(-C // lanes),
        "neighbours": 1,
        "work": lanes,
        "source_rows": rows.source_size,
        "source_columns": columns.source_size,
        "source_channels": C,
        "target_rows": rows.target_size,
        "target_columns": columns.target_size,
        "target_channels": C,
        "row_step": rows.source_step,
        "column_step": columns.source_step,
        "target_row_step": rows.target_step,
        "target_column_step": columns.target_step,
    }


def shape_of(sizes: dict[str, int]) -> Table:
    """Return a shape with these fields."""
    shape = np.zeros(1, SHAPE)
    for name, value in sizes.items():
        shape[name] = value
    return records(shape)
