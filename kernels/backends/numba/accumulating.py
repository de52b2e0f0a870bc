"""The loop nest of a convolution backward to the weights: gather, multiply, accumulate.

Tasks, bands of images, are summed into a few partial results by a rule that depends on the shapes
alone, so that the bits do not depend on the number of threads.
"""

from __future__ import annotations

import numba

from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.loading import load_band
from kernels.backends.numba.micro_kernel import NO_BASE, multiply_panel
from kernels.backends.numba.vector import lanes, pointer
from kernels.backends.numba.winograd import accumulate_winograd, transform_sources


@parallel
def accumulate(
    source, norm, relu, grad, pulled, pull, taken, pool, partials, parts, slots, work,
    shape, phases, segments,
):  # fmt: skip
    """Write ``parts`` partial sums of the weight gradient, each of a part of the tasks.

    Where the sums of all target channels would not stay in the cache, the channels are parted too.

    Parameters
    ----------
    source, norm, relu
        What the forward pass read; see ``loading``.
    grad, pulled, pull, taken, pool
        The gradient with respect to the output; see ``loading``.
    partials : array
        [part][group][tap · channel][row], or [part][point][channel][row] by Winograd, where a row
        is a group's target channels, padded.
    slots : float64 array
        Target channels for each part: is added the sum of the gradient over pixels; or empty.
    work : array
        Working memory for each thread.
    shape, phases, segments
        Of a WeightPlan.
    """
    s = shape[0]
    size, work_size = len(partials) // parts, s.work
    for part in numba.prange(parts * s.parts):
        _accumulate_part(
            source, norm, relu, grad, pulled, pull, taken, pool,
            pointer(partials, part // shape[0].parts * size), parts, slots,
            pointer(work, numba.get_thread_id() * work_size), part, shape, phases, segments,
        )  # fmt: skip


@serial
def _accumulate_part(
    source, norm, relu, grad, pulled, pull, taken, pool, sums, parts, slots,
    work, part, shape, phases, segments,
):  # fmt: skip
    """Sum a part of the tasks for a part of the target channels."""
    s = shape[0]
    share, panel = part // s.parts, part % s.parts * s.part_panels
    tasks = -(-s.images // s.chunk) * s.bands
    first, last = share * tasks // parts, (share + 1) * tasks // parts
    for task in range(first, last):
        _accumulate_task(
            source, norm, relu, grad, pulled, pull, taken, pool, sums, slots,
            share * s.target_channels, work, task, task > first, panel, shape, phases, segments,
        )  # fmt: skip


@serial
def _accumulate_task(
    source, norm, relu, grad, pulled, pull, taken, pool, sums, slots, slot,
    work, task, add, panel, shape, phases, segments,
):  # fmt: skip
    """Add a task's products to the sums, or begin them."""
    s, g, phase = shape[0], shape[1], phases[0]
    band, image = task % s.bands, task // s.bands * s.chunk
    images = min(s.chunk, s.images - image)
    source_size = s.scratch_rows * s.scratch_columns * s.source_channels
    grad_size = g.scratch_rows * g.scratch_columns * g.source_channels
    no_table, no_pool = source[:0], pool[:0]
    v_from = panel * s.panel
    v_to = min(s.out_group, v_from + s.part_panels * s.panel)
    for i in range(images):
        load_band(
            work, s.scratch_place + i * source_size, s.source_channels, image + i, band,
            source, norm, relu, source, no_table, taken, no_pool, s,
        )  # fmt: skip
        load_band(
            work, g.scratch_place + i * grad_size, g.source_channels, image + i, band,
            grad, no_table, False, pulled, pull, taken, pool, g,
        )  # fmt: skip
    if len(slots) > 0 and panel == 0:
        pixels = images * g.scratch_rows * g.scratch_columns
        sum_pixels(
            work, g.scratch_place, pixels, g.source_channels, slots, slot, work, s.inner_place
        )
    if s.winograd:
        transform_sources(work, images, s)
        accumulate_winograd(sums, add, v_from, v_to, images, work, pointer(segments, 0), s, g)
    else:
        rows = phase.rows_last if band == s.bands - 1 else phase.rows
        terms = pointer(segments, 0)
        _accumulate_direct(sums, add, v_from, v_to, rows, work, terms, s, g, phase)


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
