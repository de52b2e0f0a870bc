"""Plans for the weight gradient of depthwise convolutions: rectangles with the same taps, tasks.

Rows have the same taps in spans, mostly three: where the window leaves the image above, where it
lies within, where it leaves it below; likewise columns. A span of each makes a rectangle.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

from kernels.backends.numba.axes import Gather, forward_gather
from kernels.backends.numba.depthwise_plan import inside, shape_of, sizes_of, sliding
from kernels.backends.numba.depthwise_sliding import WIDTH
from kernels.backends.numba.depthwise_weight_kernel import RECTANGLE, TAP, TAPS, VECTORS
from kernels.backends.numba.plan_tables import Table
from kernels.backends.numba.plan_weights import WeightPlan, power_of_two
from kernels.geometry import ConvGeometry

MOST_PARTIALS, LEAST_PIXELS = 16, 300
"""Weight gradients that are summed side by side, and merged in their order; pixels that each takes.
Of fewer pixels there are parts of the channels instead, as long as there are LEAST_TASKS."""

LEAST_TASKS = 32
"""Parts that all of it is cut into, where there are enough channels."""

MOST_TAPS = 121
"""Of a window: the table of rectangles grows with the square, 60,000 entries for 11 × 11."""


class Span(NamedTuple):
    """Target rows or columns that have the same taps: number and source shift of each."""

    begin: int
    end: int
    taps: list[tuple[int, int]]


def fits(geometry: ConvGeometry) -> bool:
    """Tell whether the window is not too large."""
    return geometry.height.kernel * geometry.width.kernel <= MOST_TAPS


@functools.lru_cache(maxsize=256)
def weight_plan(geometry: ConvGeometry, lanes: int) -> WeightPlan:
    """Plan the weight gradient of a depthwise convolution."""
    rows, columns = forward_gather(geometry.height), forward_gather(geometry.width)
    slides, C, targets = sliding(rows, columns), geometry.channels, geometry.out_channels
    down, across = _spans(rows), _sliding_span(columns) if slides else _spans(columns)
    kernel = geometry.width.kernel
    partials, cut = _cut(geometry, rows.target_size, columns.target_size, lanes)
    sizes = sizes_of(geometry, rows, columns, C, targets, lanes) | cut
    in_group, out_group = sizes["in_group"], sizes["out_group"]
    taps = geometry.height.kernel * kernel
    sizes |= {"terms": taps * in_group}
    sizes |= {"rectangles": len(down) * len(across), "rectangles_across": len(across)}
    zeros = max(VECTORS, out_group) * lanes  # gradients outside the image
    sizes |= {"sliding": int(slides), "inner_place": zeros, "work": zeros + lanes}
    together = taps_together(in_group, out_group, taps)
    size = sizes["grouped"] * lanes * out_group * sizes["terms"]
    return WeightPlan(
        shape_of(sizes),
        _rectangles(down, across, kernel, columns.source_size * C, C, together),
        parts=partials,
        groups=partials * sizes["parts"],
        tasks=partials * sizes["parts"],
        blocks=sizes["grouped"],
        size=size,
        work=max(sizes["work"], sizes["terms"] * lanes),
        cycles=None,
    )


def taps_together(in_group: int, out_group: int, taps: int) -> int:
    """Return how many taps of a window are summed at once."""
    if taps == 1:
        return 1
    return TAPS if in_group == out_group == 1 else WIDTH


def _cut(geometry: ConvGeometry, rows: int, columns: int, lanes: int) -> tuple[int, dict[str, int]]:
    """Return how many partial results there are, and how their rows and channels are cut."""
    batch, unit = geometry.batch, VECTORS * lanes
    partials = power_of_two(min(MOST_PARTIALS, batch * rows * columns // LEAST_PIXELS))
    band_rows = -(-rows // -(-partials // batch))
    bands = -(-rows // band_rows)
    partials = min(partials, batch * bands)
    units = -(-geometry.groups // unit)
    part_channels = -(-units // min(units, -(-LEAST_TASKS // partials))) * unit
    parts = -(-geometry.groups // part_channels)
    cut = {"band_rows": band_rows, "bands": bands, "parts": parts, "part_channels": part_channels}
    return partials, cut


def _spans(axis: Gather) -> list[Span]:
    """Return the runs of target pixels that have the same taps."""
    taps = axis.phases[0].taps
    ranges = [inside(shift, axis.target_size, axis) for _, shift in taps]
    cuts = sorted({0, axis.target_size, *itertools.chain(*ranges)})
    return [
        Span(begin, end, [tap for tap, (b, e) in zip(taps, ranges, strict=True) if b <= begin < e])
        for begin, end in itertools.pairwise(cuts)
    ]


def _sliding_span(axis: Gather) -> list[Span]:
    """Return source columns, from the one where the first target's window begins, and all taps."""
    taps = [*axis.phases[0].taps]
    first = taps[0][1]
    return [Span(max(0, -first), min(axis.source_size - first, axis.target_size + WIDTH - 1), taps)]


def _rectangles(
    rows: list[Span],
    columns: list[Span],
    kernel: int,
    row_step: int,
    column_step: int,
    together: int,
) -> Table:
    """Return the table of rectangles and their taps: see ``depthwise_weight``."""
    rectangles: list[tuple[int, ...]] = []
    taps: list[tuple[int, int]] = []
    first = len(rows) * len(columns) * RECTANGLE
    for row, column in itertools.product(rows, columns):
        both = itertools.product(row.taps, column.taps)
        own = [(p * kernel + q, i * row_step + j * column_step) for (p, i), (q, j) in both]
        own += [(-1, offset) for _, offset in own[:1]] * (-len(own) % together)
        places = [first + TAP * n for n in (len(taps), len(taps) + len(own))]
        rectangles.append((row.begin, row.end, column.begin, column.end, *places))
        taps += own
    return np.array([*itertools.chain(*rectangles, *taps)], np.int64)
