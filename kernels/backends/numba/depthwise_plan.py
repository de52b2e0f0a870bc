"""Plans for depthwise convolutions: which taps a row of targets has, and which of them clip.

Those of several channels a group, as far as they are read in place (``grouped_in_place``), have the
same plans.

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

from kernels.backends.numba.axes import Gather, Phase, backward_gather, forward_gather
from kernels.backends.numba.depthwise_sliding import ROWS, VECTORS, WIDTH
from kernels.backends.numba.depthwise_striding import FEW_ROWS, STEP, STEPS
from kernels.backends.numba.micro_kernel import PANEL_VECTORS
from kernels.backends.numba.plan import Plan
from kernels.backends.numba.plan_grouped import MOST_JOINED, group_vectors
from kernels.backends.numba.plan_tables import ROW_PHASE, SHAPE, TAP, Table, records
from kernels.geometry import Axis, ConvGeometry

NOT, SLIDES, GATHERS, SCATTERS = range(4)
"""How windows go along a row: in tiles; as ``depthwise_sliding`` has it; or ``depthwise_striding``,
forward or backward to the input."""

LEAST_TASKS = 16
"""Bands of rows that a small batch is cut into, so that it uses all cores."""


MOST_PRODUCTS = 6
"""Source by target channels of a group that are read in place. Of 4 by 4 the sums of a window that
slides do not fit the registers: 3×3 took 2.8 times as long as with a copy. Windows of one tap are
always read in place: 0.6 of the time."""

MOST_TAPS = 9
"""Of a window that are read so for each source pixel, with several channels: a channel is dealt out
for each tap, and in a copy once. 2 to 1 channels through 4×4: 1.2 of the time; 2 to 2 through 5×5
0.9, with stride 2 0.65."""


def fits(geometry: ConvGeometry, lanes: int) -> bool:
    """Tell whether groups have one channel, or so few that it pays not to copy them."""
    groups, rows, columns = geometry.groups, geometry.height, geometry.width
    ins, outs = geometry.channels // groups, geometry.out_channels // groups
    if ins == outs == 1:
        return groups > 1
    most, taps = max(ins, outs), rows.kernel * columns.kernel
    if group_vectors(most, most, groups, lanes) == 0 or groups <= MOST_JOINED * most:
        return False
    few = taps <= MOST_TAPS * rows.stride * columns.stride
    return taps == 1 or (few and ins * outs <= MOST_PRODUCTS)


@functools.lru_cache(maxsize=256)
def forward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of y from x."""
    axes = forward_gather(geometry.height), forward_gather(geometry.width)
    return _plan(geometry, *axes, geometry.channels, geometry.out_channels, lanes)


@functools.lru_cache(maxsize=256)
def backward_plan(geometry: ConvGeometry, lanes: int) -> Plan:
    """Plan the gathering of x's gradient from y's."""
    rows, columns = backward_gather(geometry.height), backward_gather(geometry.width)
    return _plan(geometry, rows, columns, geometry.out_channels, geometry.channels, lanes)


def _plan(
    geometry: ConvGeometry, rows: Gather, columns: Gather, C: int, targets: int, lanes: int
) -> Plan:
    """Plan a gathering of ``targets`` channels from ``C``."""
    kernel, slides = geometry.width.kernel, sliding(rows, columns)
    if C == targets == geometry.groups and slides == NOT:
        slides = striding(geometry.width, rows, columns)
    if slides == SCATTERS:
        columns = _together(columns, geometry.width)
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
    sizes = sizes_of(geometry, rows, columns, C, targets, lanes)
    terms = len(taps) * sizes["in_group"]
    sizes |= {"phases": len(columns.phases), "terms": terms, "sliding": slides}
    sizes |= {"window": kernel, "window_step": geometry.width.stride}
    sizes["first_column"] = -geometry.width.before
    # What window rows outside the image read, and their weights.
    zeros = max(VECTORS, sizes["out_group"] * terms) * lanes if slides != NOT else 0
    sizes |= {"inner_place": zeros, "work": zeros + lanes}
    return Plan(
        shape_of(sizes),
        records(np.array(phases, ROW_PHASE)),
        np.empty(0, np.int64),
        records(np.array(taps, TAP)),
        np.array(order, np.int64),
        None,
    )


def sliding(rows: Gather, columns: Gather) -> int:
    """Return SLIDES if windows slide along a row, see ``depthwise_sliding``.

    Neighbours share all columns but one; the first window and the last one reach into the image.
    """
    width, low = len(columns.phases[0].taps), columns.low
    return SLIDES * int(
        columns.source_step == columns.target_step == 1
        and width == columns.scratch(1) == WIDTH
        and max(len(phase.taps) for phase in rows.phases) <= ROWS
        and -width < low
        and width - 1 <= columns.target_size <= columns.source_size - low
    )


def striding(axis: Axis, rows: Gather, columns: Gather) -> int:
    """Return GATHERS or SCATTERS if windows go along a row as ``depthwise_striding`` has it."""
    most = max(len(phase.taps) for phase in rows.phases)
    if axis.dilation > 1 or axis.kernel > WIDTH:
        return NOT
    if columns.target_step in STEPS:
        return SCATTERS if most <= FEW_ROWS else NOT
    middles_are_inside = STEP * (axis.outputs - 1) + 1 - axis.before < axis.size
    fits = axis.kernel == WIDTH and axis.before <= 1 and middles_are_inside and most <= ROWS
    return GATHERS if columns.source_step == STEP and fits else NOT


def _together(columns: Gather, axis: Axis) -> Gather:
    """Return the columns of all phases as one phase, of the taps of a source column."""
    taps = tuple((k, 0) for k in range(axis.kernel))
    return Gather(columns.target_size, columns.source_size, 1, 1, (Phase(0, taps),))


def inside(shift: int, count: int, axis: Gather) -> tuple[int, int]:
    """Return the range of a phase's rows or columns for which a tap lies in the image."""
    begin = min(count, max(0, -(shift // axis.source_step)))
    end = (axis.source_size - 1 - shift) // axis.source_step + 1
    return begin, max(begin, min(count, end))


def sizes_of(
    geometry: ConvGeometry, rows: Gather, columns: Gather, sources: int, targets: int, lanes: int
) -> dict[str, int]:
    """Return the fields of the shape; lanes are groups, as in ``plan_grouped``."""
    groups = geometry.groups
    band_rows = max(1, rows.target_size // -(-LEAST_TASKS // max(1, geometry.batch)))
    return {
        "depthwise": 1,
        "images": geometry.batch,
        "chunk": 1,
        "band_rows": band_rows,
        "bands": -(-rows.target_size // band_rows),
        "parts": 1,
        "groups": groups,
        "in_group": sources // groups,
        "out_group": targets // groups,
        "panel": PANEL_VECTORS * lanes,
        "grouped": -(-groups // lanes),
        "neighbours": 1,
        "work": lanes,
        "source_rows": rows.source_size,
        "source_columns": columns.source_size,
        "source_channels": sources,
        "target_rows": rows.target_size,
        "target_columns": columns.target_size,
        "target_channels": targets,
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
