"""The loop nest of a convolution backward to the weights: gather, multiply, accumulate.

Tasks, bands of images, are summed into a few partial results by a rule that depends on the shapes
alone, so that the bits do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from kernels.backends.numba.calls import (
    LOAD,
    PARTIALS,
    PARTIALS_SIZE,
    PARTS,
    SEGMENTS,
    SHAPES,
    SLOTS,
    SLOTTED,
    doubles_at,
    integers_at,
    shape_at,
)
from kernels.backends.numba.fetching import rows_ahead
from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.jit import serial
from kernels.backends.numba.loading import band_in_place, load_band
from kernels.backends.numba.micro_kernel import (
    ADJACENT,
    ROWS,
    SUMS,
    ZEROS,
    multiply_panel,
    prepare,
)
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import at_address, lanes, pointer
from kernels.backends.numba.winograd import accumulate_winograd, transform_sources


def accumulate_task(work, call, number):
    """Add the products of a band of images, for a part of the source channels, to a part's sums.

    The first one of a part begins the sums. Where those of all source channels would not stay in
    the cache, the channels are parted too; a thread has those that it will unpack, as far as there
    are as many.
    """
    s, g = shape_at(call[SHAPES], 0), shape_at(call[SHAPES], 1)
    tasks = -(-s.images // s.chunk) * s.bands
    task, c_from = number % tasks, number // tasks * s.part_channels
    part = ((task + 1) * call[PARTS] - 1) // tasks
    add, slot = task > part * tasks // call[PARTS], part * s.target_channels
    sums = pointer(at_address(work, call[PARTIALS]), part * call[PARTIALS_SIZE])
    table = integers_at(call[SEGMENTS], 0)
    band, image = task % s.bands, task // s.bands * s.chunk
    images = min(s.chunk, s.images - image)
    source_size = s.scratch_rows * s.scratch_columns * s.pixel
    grad_size = g.scratch_rows * g.scratch_columns * g.pixel
    c_to = min(s.source_channels, c_from + s.part_channels)
    all_from = np.int64(0)  # for a literal all that loads would be compiled once more, in 0.7 s
    grads = pointer(call, LOAD)
    source, loads = band_in_place(work, 0, image, band, call, s)
    grad, loads_grad = band_in_place(work, g.scratch_place, image, band, grads, g)
    for i in range(images):
        if loads:
            to = s.scratch_place + i * source_size
            load_band(work, to, image + i, band, call, s, c_from, c_to)
        if loads_grad:
            to = g.scratch_place + i * grad_size
            load_band(work, to, image + i, band, grads, g, all_from, g.source_channels)
    rows = images * min(s.band_rows, s.target_rows - band * s.band_rows)
    if call[SLOTTED] > 0 and c_from == 0:
        # Winograd's tiles reach over the images' ends: there are rows of zeros between these.
        pixels = (images * g.scratch_rows if s.winograd > 0 else rows) * g.scratch_columns
        sum_pixels(
            grad, 0, pixels, g.pixel, g.source_channels,
            doubles_at(call[SLOTS], 0), slot, work, s.inner_place,
        )  # fmt: skip
    first = 1 if s.parts > 1 or _size(g) > _size(s) else 0
    ahead = _rows_ahead(work, call, first, s, task, images, rows)
    if s.winograd > 0:
        tiles = images * s.tiles_down * s.tiles_across
        transform_sources(work, tiles, c_to - c_from, work, 0, tiles, s)
        accumulate_winograd(sums, add, c_from, c_to, images, work, ahead, table, s, g)
    else:
        then = _rows_ahead(work, call, 1 - first, s, task, images, rows)
        _accumulate_direct(sums, add, c_from, c_to, rows, source, grad, ahead, then, table, s, g)


@serial
def _rows_ahead(work, call, which, s, task, images, rows):
    """Return what each product fetches, of the sources or of the gradients: half of them does."""
    terms, products = s.block_rows * s.target_columns, s.groups * -(-rows // s.block_rows)
    if s.winograd > 0:
        terms, products = images * s.tiles_down * s.tiles_across, 2 * 36
    load, shape = pointer(call, which * LOAD), shape_at(call[SHAPES], which)
    return rows_ahead(work, load, shape, s, task, -(-s.panels * products // 2), terms)


@serial
def _size(shape):
    return shape.source_rows * shape.source_columns * shape.source_channels


@serial
def _accumulate_direct(sums, add, c_from, c_to, rows, source, grad, ahead, then, table, s, g):
    """Multiply the transposed source pixels by the gradients, some rows of pixels at a time.

    They fetch what is ``ahead``, the larger operand of the next task, ``then`` the other one: with
    that 256 to 64 channels of 56×56 through 1×1 took 0.94 to 0.95 of the time, 64 to 256 0.97.
    ``table`` begins with the rows of pixels of a task. Groups are not parted.
    """
    terms = s.terms if s.groups > 1 else s.terms // s.source_channels * (c_to - c_from)
    later, line, end, step = ahead
    for group in range(s.groups):
        m = (group * s.terms + c_from) * s.row
        for v in range(0, s.out_group, s.panel):
            V = s.panel if s.out_group - v > lanes(grad) else lanes(grad)
            beside = ADJACENT if lanes(grad) < V and s.ascending > 0 else ROWS * s.paired
            for i in range(0, rows, s.block_rows):
                b = i * s.target_columns * g.pixel
                multiply_panel(
                    sums, sums, source, grad, later, table, s.first_term, terms + s.unused, V,
                    beside, line, min(end, line + step),
                    SUMS if add or i > 0 else ZEROS, m + v, 0, group * s.in_group, s.a_step,
                    b + group * s.out_group + v, g.pixel, i, min(rows, i + s.block_rows),
                )  # fmt: skip
                line += step
                if line >= end:
                    later, line, end, step = then
                    then = later, end, end, 0


ACCUMULATE = Task(accumulate_task, needs=prepare)
