"""The loop nest of a convolution backward to the weights: gather, multiply, accumulate.

Tasks, bands of images, are summed into a few partial results by a rule that depends on the shapes
alone, so that the bits do not depend on the number of threads.
"""

from __future__ import annotations

from kernels.backends.numba.calls import (
    LOAD,
    PARTS,
    PHASES,
    SEGMENTS,
    SHAPES,
    SLOTS,
    SLOTTED,
    SUMS,
    SUMS_SIZE,
    doubles_at,
    integers_at,
    phase_at,
    shape_at,
)
from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.jit import serial
from kernels.backends.numba.loading import load_band
from kernels.backends.numba.micro_kernel import NO_BASE, multiply_panel, prepare
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import at_address, lanes, pointer
from kernels.backends.numba.winograd import accumulate_winograd, transform_sources


def accumulate_part(work, call, part):
    """Sum the weight gradient over a part of the tasks, for a part of the target channels.

    Where the sums of all target channels would not stay in the cache, the channels are parted too.
    """
    s = shape_at(call[SHAPES], 0)
    share, panel = part // s.parts, part % s.parts * s.part_panels
    tasks = -(-s.images // s.chunk) * s.bands
    first, last = share * tasks // call[PARTS], (share + 1) * tasks // call[PARTS]
    sums = pointer(at_address(work, call[SUMS]), share * call[SUMS_SIZE])
    for task in range(first, last):
        _accumulate_task(sums, share * s.target_channels, work, task, task > first, panel, call)


@serial
def _accumulate_task(sums, slot, work, task, add, panel, call):
    """Add a task's products to the sums, or begin them."""
    s, g = shape_at(call[SHAPES], 0), shape_at(call[SHAPES], 1)
    phase, segments = phase_at(call[PHASES], 0), integers_at(call[SEGMENTS], 0)
    band, image = task % s.bands, task // s.bands * s.chunk
    images = min(s.chunk, s.images - image)
    source_size = s.scratch_rows * s.scratch_columns * s.source_channels
    grad_size = g.scratch_rows * g.scratch_columns * g.source_channels
    v_from = panel * s.panel
    v_to = min(s.out_group, v_from + s.part_panels * s.panel)
    for i in range(images):
        load_band(
            work, s.scratch_place + i * source_size, s.source_channels, image + i, band, call, s
        )
        load_band(
            work, g.scratch_place + i * grad_size, g.source_channels, image + i, band,
            pointer(call, LOAD), g,
        )  # fmt: skip
    if call[SLOTTED] > 0 and panel == 0:
        pixels = images * g.scratch_rows * g.scratch_columns
        sum_pixels(
            work, g.scratch_place, pixels, g.source_channels,
            doubles_at(call[SLOTS], 0), slot, work, s.inner_place,
        )  # fmt: skip
    if s.winograd > 0:
        transform_sources(work, images, s)
        accumulate_winograd(sums, add, v_from, v_to, images, work, segments, s, g)
    else:
        rows = phase.rows_last if band == s.bands - 1 else phase.rows
        _accumulate_direct(sums, add, v_from, v_to, rows, work, segments, s, g, phase)


@serial
def _accumulate_direct(sums, add, v_from, v_to, rows, work, segments, s, g, phase):
    """Multiply the transposed source pixels by the gradients, some rows of pixels at a time.

    ``segments`` lists the band's rows of pixels, then the runs of terms that lie side by side.
    """
    for group in range(s.groups):
        m = group * s.terms * s.row
        for run in range(2 * s.band_rows, s.segments, 2):
            offset, length = segments[run], segments[run + 1]
            for v in range(v_from, v_to, s.panel):
                V = s.panel if s.out_group - v > lanes(work) else lanes(work)
                for i in range(0, rows, s.block_rows):
                    base_step = s.row if add or i > 0 else NO_BASE
                    b = g.scratch_place + i * phase.columns * s.target_channels
                    multiply_panel(
                        sums, sums, work, work, segments, length, V,
                        m + v, m + v, offset + group * s.in_group,
                        s.row, base_step, 1, phase.a_step, b + group * s.out_group + v,
                        s.target_channels, i, min(rows, i + s.block_rows),
                    )  # fmt: skip
            m += length * s.row


ACCUMULATE = Task(accumulate_part, needs=prepare)
