"""Weight gradients by Winograd's algorithm where there are few tiles for many channels.

The sums of its points are four times as large as the weights: of 512 channels to 512 they take
38 MB. With few tiles a part of the channels does without these. One phase transforms all tiles, of
the sources and of the gradients; in the next a task multiplies some source channels' by a panel of
the gradients' at a time, and transforms the sums back before they leave the cache.
"""

from __future__ import annotations

from kernels.backends.numba.calls import (
    GRAD_FILTERS,
    LOAD,
    PARTIALS,
    SEGMENTS,
    SHAPES,
    SLOTS,
    SLOTTED,
    doubles_at,
    integers_at,
    shape_at,
)
from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.jit import serial
from kernels.backends.numba.loading import load_band
from kernels.backends.numba.micro_kernel import ADJACENT, ROWS, ZEROS, multiply_panel, prepare
from kernels.backends.numba.packing import PACK_CHANNELS
from kernels.backends.numba.points import points_apart
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.unpacking import sum_points, turn
from kernels.backends.numba.vector import at_address, lanes, pointer
from kernels.backends.numba.winograd import (
    all_tiles,
    tiles_of_band,
    transform_gradients,
    transform_sources,
)


@serial
def _gradients_place(s, width):
    """Return where the gradients' points are, behind the sources'."""
    return 36 * points_apart(all_tiles(s) * s.pixel, width)


def transform_both(work, call, task):
    """Transform a band of an image, the sources and the gradients, and add up the latter's pixels.

    The points are [point][tile][source channel], then [panel][point][tile][panel's channels].
    """
    s, g = shape_at(call[SHAPES], 0), shape_at(call[SHAPES], 1)
    band, image, grads = task % s.bands, task // s.bands, pointer(call, LOAD)
    load_band(work, s.scratch_place, image, band, call, s, 0, s.source_channels)
    load_band(work, g.scratch_place, image, band, grads, g, 0, g.source_channels)
    if call[SLOTTED] > 0:
        pixels, slot = g.scratch_rows * g.scratch_columns, task * s.target_channels
        sum_pixels(
            work, g.scratch_place, pixels, g.pixel, g.source_channels,
            doubles_at(call[SLOTS], 0), slot, work, s.inner_place,
        )  # fmt: skip
    points, tiles = at_address(work, call[PARTIALS]), all_tiles(s)
    place = _gradients_place(s, lanes(work))
    first, count = tiles_of_band(task, s)
    transform_sources(work, count, s.source_channels, points, first, tiles, s)
    for v in range(0, s.out_group, s.panel):
        transform_gradients(work, count, v, points, place, first, tiles, s, g)
        place += 36 * points_apart(tiles * s.panel, lanes(work))


def accumulate_task(work, call, part):
    """Sum the products of all tiles for a part of the source channels, and write the gradient.

    While it multiplies a panel, it fetches the next one's points.
    """
    s, table, width = shape_at(call[SHAPES], 0), integers_at(call[SEGMENTS], 0), lanes(work)
    points, tiles = at_address(work, call[PARTIALS]), all_tiles(s)
    c_from = part * s.part_channels
    channels = min(s.part_channels, s.source_channels - c_from)
    sources_apart = points_apart(tiles * s.pixel, width)
    grads_apart = points_apart(tiles * s.panel, width)
    sums_apart = points_apart(s.part_channels * s.panel, width)
    place = _gradients_place(s, width)
    for v in range(0, s.out_group, s.panel):
        V = min(s.panel, s.row - v)
        for point in range(36):
            line = place + 36 * grads_apart
            multiply_panel(
                work, work, points, points, points, table, s.first_term, channels, V,
                ADJACENT if width < V else ROWS * s.paired,
                line, line + grads_apart if v + s.panel < s.out_group else line,
                ZEROS, point * sums_apart, 0, point * sources_apart + c_from, s.pixel,
                place, s.panel, tiles, tiles + 1,
            )  # fmt: skip
            place += grads_apart
        for c in range(0, channels, PACK_CHANNELS):
            for lane in range(0, V, width):
                _write(work, call, c_from + c, v + lane, c * s.panel + lane, channels - c, s)


@serial
def _write(work, call, c, v, place, channels, s):
    """Transform the sums of some channels back, from a place on, and write their weights."""
    width, sums_apart = lanes(work), points_apart(s.part_channels * s.panel, lanes(work))
    taps, channels = 36 * sums_apart, min(PACK_CHANNELS, channels)
    inner = taps + 9 * PACK_CHANNELS * width
    for i in range(channels):
        sum_points(work, 1, 0, place + i * s.panel, sums_apart, work, inner, taps + 9 * i * width)
    grad, to = at_address(work, call[GRAD_FILTERS]), (v * s.source_channels + c) * 9
    turn(work, taps, 9 * channels, grad, to, min(width, s.out_group - v), s.source_channels * 9)


TRANSFORM_BOTH = Task(transform_both)
ACCUMULATE_AT_ONCE = Task(accumulate_task, needs=prepare)
