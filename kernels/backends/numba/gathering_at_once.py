"""Convolutions by Winograd's algorithm where there are few tiles for many channels.

Transformed weights are four times as large as the weights: of 512 channels to 512 they take 38 MB.
Where all tiles are multiplied together, each of these weights is needed once. One phase transforms
the sources of all tiles; in the next a task transforms the weights of a panel, some source channels
at a time, and multiplies by them before they leave the cache.
"""

from __future__ import annotations

from kernels.backends.numba.calls import (
    POINTS,
    SEGMENTS,
    SHAPES,
    START,
    STEP_TARGET,
    TARGET,
    integers_at,
    shape_at,
)
from kernels.backends.numba.gathering import finish_band
from kernels.backends.numba.loading import load_band
from kernels.backends.numba.micro_kernel import SUMS, TERMS, ZEROS, multiply_panel, prepare
from kernels.backends.numba.packing import pack_biases, pack_points
from kernels.backends.numba.points import points_apart
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import at_address, lanes, pointer
from kernels.backends.numba.winograd import (
    all_tiles,
    tiles_of_band,
    transform_products,
    transform_sources,
)


def transform_task(work, call, task):
    """Transform a band of an image to [point][tile][source channel]."""
    s = shape_at(call[SHAPES], 1)
    band, image = task % s.bands, task // s.bands
    load_band(work, s.scratch_place, image, band, call, s, 0, s.source_channels)
    points = at_address(work, call[POINTS])
    first, count = tiles_of_band(task, s)
    transform_sources(work, count, s.source_channels, points, first, all_tiles(s), s)


def gather_panel(work, call, panel):
    """Write a panel of the target channels of all pixels, and finish them.

    ``work`` has the panel's products, and weights of ``s.part_channels`` source channels.
    """
    s, table, width = shape_at(call[SHAPES], 0), integers_at(call[SEGMENTS], 0), lanes(work)
    sources, start = at_address(work, call[POINTS]), at_address(work, call[START])
    c, tiles = panel * s.panel, all_tiles(s)
    valid, first = min(s.panel, s.target_channels - c), c * call[STEP_TARGET]
    pack_biases(work, c, valid, call, s)
    sources_apart = points_apart(tiles * s.pixel, width)
    products_apart = points_apart(tiles * s.panel, width)
    weights_apart = points_apart(s.part_channels * s.panel, width)
    weights = pointer(work, s.scratch_place)
    for part in range(0, s.source_channels, s.part_channels):
        channels = min(s.part_channels, s.source_channels - part)
        segment = 0 if channels == s.part_channels else 1
        turned = pointer(weights, 36 * weights_apart)
        pack_points(turned, first, valid, part, channels, weights, weights_apart, call, s)
        for point in range(36):
            multiply_panel(
                work, work, sources, weights, sources, table, 2, tiles,
                -(-valid // width) * width, TERMS * s.paired, 0, 0,
                ZEROS if part == 0 else SUMS, point * products_apart, 0,
                point * sources_apart + part, 1, point * weights_apart, s.panel,
                segment, segment + 1,
            )  # fmt: skip
    target, pixels = at_address(work, call[TARGET]), s.images * s.target_rows * s.target_columns
    transform_products(target, s.target_rows, tiles, work, start, c, valid, s)
    finish_band(target, 0, 0, pixels, c, c + valid, call, s, 0, work)


TRANSFORM_SOURCES = Task(transform_task)
GATHER_PANEL = Task(gather_panel, needs=prepare)
