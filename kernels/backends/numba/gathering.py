"""The loop nest of a convolution forward and backward to the input: gather, multiply, finish."""

from __future__ import annotations

from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import (
    BLOCKS,
    MOMENTS,
    PASSING,
    PHASES,
    POOLS_BANDS,
    SEGMENTS,
    SHAPES,
    SLOTS,
    START,
    TARGET,
    WEIGHTS,
    doubles_at,
    integers_at,
    phase_at,
    shape_at,
)
from kernels.backends.numba.direct import convolve_direct
from kernels.backends.numba.fetching import rows_ahead
from kernels.backends.numba.finishing import collect_moments, finish_gradient
from kernels.backends.numba.jit import serial
from kernels.backends.numba.loading import band_in_place, load_band
from kernels.backends.numba.micro_kernel import prepare
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import at_address, pointer
from kernels.backends.numba.winners import take_winners
from kernels.backends.numba.winograd import convolve_winograd, transform_sources


def gather_task(work, call, task):
    """Load the sources of some pixels and channels, multiply, and finish the targets.

    Each target pixel is a sum over its window of source pixels. Tasks of the same channels follow
    one another: a thread finds the weights in its own cache that it has packed itself. To 64
    channels of one image of 7×7, where a core gets another's lines at 2 GB/s: 40 µs, now 33.
    """
    s = shape_at(call[SHAPES], 0)
    slots = -(-s.images // s.chunk) * s.bands
    part, slot = task // slots, task % slots
    band, image = slot % s.bands, slot // s.bands * s.chunk
    images = min(s.chunk, s.images - image)
    scratch_size = s.scratch_rows * s.scratch_columns * s.pixel
    source, loads = band_in_place(work, 0, image, band, call, s)
    for i in range(images if loads else 0):
        load_band(
            work, s.scratch_place + i * scratch_size, image + i, band, call, s, 0, s.source_channels
        )
    row = image * s.target_rows + band * s.band_rows
    rows = min(s.band_rows, s.target_rows - band * s.band_rows)
    target, first = at_address(work, call[TARGET]), row * s.target_columns * s.target_channels
    if call[PASSING] > 0:
        target, first = pointer(work, s.work), 0
    panel_from = part * s.part_panels
    panel_to = min(panel_from + s.part_panels, s.panels)
    to, terms = pointer(target, first), integers_at(call[SEGMENTS], 0)
    by, base = at_address(work, call[WEIGHTS]), at_address(work, call[START])
    blocks = phase_at(call[PHASES], s.phases - 1).last_block
    calls = (panel_to - panel_from) * (36 if s.winograd > 0 else s.groups * blocks)
    tile_terms = s.source_channels if s.winograd > 0 else s.terms // blocks
    ahead = rows_ahead(work, call, s, s, slot, calls, tile_terms)
    if s.winograd > 0:
        tiles = images * s.tiles_down * s.tiles_across
        transform_sources(work, tiles, s.source_channels, work, 0, tiles, s)
        convolve_winograd(to, rows, images, work, by, base, ahead, panel_from, panel_to, terms, s)
    else:
        if s.cleared > 0:
            clear(to, 0, images * rows * s.target_columns * s.target_channels)
        convolve_direct(
            to, images, band == s.bands - 1, source, by, base, ahead, panel_from, panel_to,
            call[PHASES], call[BLOCKS], terms, s,
        )  # fmt: skip
    C, pixels = s.target_channels, images * rows * s.target_columns
    c_from, c_to = panel_from * s.panel, C if s.parts == 1 else min(C, panel_to * s.panel)
    finish_band(target, first, row, pixels, c_from, c_to, call, s, slot, work)


@serial
def finish_band(target, first, row, pixels, c_from, c_to, call, s, slot, work):
    """Do to the target's pixels, from a row of all images' on, what is done while in cache."""
    C = s.target_channels
    slots, inner = doubles_at(call[SLOTS], 0), s.inner_place
    if call[POOLS_BANDS] > 0:
        take_winners(target, first, row, pixels, c_from, c_to, call, s)
    if call[MOMENTS] > 0:
        collect_moments(target, first, pixels, C, c_from, c_to, slots, 3 * slot * C, work, inner)
    else:
        finish_gradient(
            target, first, pixels, C, c_from, c_to, call, slots, 2 * slot * C, work, inner
        )


GATHER = Task(gather_task, needs=prepare)
