"""The weight gradient of depthwise convolutions: sums over pixels, in registers.

A block of source rows of one vector of channels is copied, with zeros around it, into a scratch
buffer in the L1 or L2 cache. There it is contiguous: without the copy, channel counts that are
powers of two put all pixels into the same few sets of L1 (8 images of 512×14×14 on 2 threads of
Zen 4: 0.29 ms, with it 0.17), and border pixels need code of their own.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels.backends.numba.depthwise_plan import (
    BAND_ROWS,
    BANDS,
    BLOCK_ROWS,
    CHANNELS,
    COLUMN,
    LOW_COLUMN,
    LOW_ROW,
    ROW,
    SCRATCH_COLUMNS,
    SOURCE_COLUMN_STEP,
    SOURCE_COLUMNS,
    SOURCE_ROW_STEP,
    SOURCE_ROWS,
    TAP_BLOCK,
    TARGET_COLUMNS,
    TARGET_ROWS,
    TASKS,
)
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.vector import (
    add,
    lanes,
    load,
    load_first,
    multiply_add,
    prefetch,
    repeat,
    replaced,
    store,
    store_first,
    zeros,
)

PREFETCH_PIXELS = 32
"""How far ahead grad_y is fetched, of which each load is followed by TAP_BLOCK multiply-adds."""


@parallel
def accumulate(source, grad, partials, count, sizes, taps):
    """Add up ``count`` partial sums, each (taps, channels); which tasks one gets is fixed."""
    size = len(partials) // count
    for part in numba.prange(count):
        for task in range(part * sizes[TASKS] // count, (part + 1) * sizes[TASKS] // count):
            _accumulate_band(source, grad, partials, part * size, sizes, taps, task)


@serial
def _accumulate_band(source, grad, partials, first, sizes, taps, task):
    C, width = sizes[CHANNELS], lanes(source)
    image, row = task // sizes[BANDS], task % sizes[BANDS] * sizes[BAND_ROWS]
    end = min(row + sizes[BAND_ROWS], sizes[TARGET_ROWS])
    window_rows = taps[len(taps) - 1, ROW] - sizes[LOW_ROW] + 1
    scratch_rows = (sizes[BLOCK_ROWS] - 1) * sizes[SOURCE_ROW_STEP] + window_rows
    scratch = np.empty(scratch_rows * sizes[SCRATCH_COLUMNS] * width, source.dtype)
    for i in range(row, end, sizes[BLOCK_ROWS]):
        rows = min(sizes[BLOCK_ROWS], end - i)
        source_row = i * sizes[SOURCE_ROW_STEP] + sizes[LOW_ROW]
        source_rows = (rows - 1) * sizes[SOURCE_ROW_STEP] + window_rows
        grads = (image * sizes[TARGET_ROWS] + i) * sizes[TARGET_COLUMNS] * C
        for c in range(0, C, width):
            _copy_rows(scratch, source, sizes, image, source_row, source_rows, c)
            for tap in range(0, len(taps), TAP_BLOCK):
                _accumulate_block(
                    partials, first, scratch, grad, grads + c, sizes, taps, rows, c, tap
                )


@serial
def _copy_rows(scratch, source, sizes, image, first_row, rows, c):
    """Copy rows of one vector of channels, with zeros outside the image and its channels."""
    C, W, columns = sizes[CHANNELS], sizes[SOURCE_COLUMNS], sizes[SCRATCH_COLUMNS]
    width, valid = lanes(source), min(lanes(source), C - c)
    left = min(columns, max(0, -sizes[LOW_COLUMN]))
    right = max(left, min(columns, W - sizes[LOW_COLUMN]))
    for i in range(rows):
        row, to = first_row + i, i * columns * width
        at = ((image * sizes[SOURCE_ROWS] + row) * W + sizes[LOW_COLUMN]) * C + c
        begin, end = left, right
        if row < 0 or row >= sizes[SOURCE_ROWS]:
            begin = end = columns
        for j in range(begin):
            store(scratch, to + j * width, zeros(scratch))
        for j in range(begin, end):
            store(scratch, to + j * width, load_first(source, at + j * C, valid))
        for j in range(end, columns):
            store(scratch, to + j * width, zeros(scratch))


@serial
def _accumulate_block(partials, first, scratch, grad, grads, sizes, taps, rows, c, tap):
    """Add source · grad over some rows of pixels to TAP_BLOCK taps of a vector of channels."""
    C, columns, width = sizes[CHANNELS], sizes[TARGET_COLUMNS], lanes(scratch)
    valid = min(width, C - c)
    step = sizes[SOURCE_COLUMN_STEP] * width
    row_step = sizes[SOURCE_ROW_STEP] * sizes[SCRATCH_COLUMNS] * width
    starts = repeat(c, TAP_BLOCK)
    for t in range(TAP_BLOCK):
        row, column = taps[tap + t, ROW] - sizes[LOW_ROW], taps[tap + t, COLUMN] - sizes[LOW_COLUMN]
        starts = replaced(starts, t, (row * sizes[SCRATCH_COLUMNS] + column) * width)
    total = repeat(zeros(scratch), TAP_BLOCK)
    for i in range(rows):
        for j in range(columns):
            pixel, at = grads + (i * columns + j) * C, i * row_step + j * step
            prefetch(grad, pixel + PREFETCH_PIXELS * C)
            factor = load_first(grad, pixel, valid)
            for t in range(TAP_BLOCK):
                value = load(scratch, starts[t] + at)
                total = replaced(total, t, multiply_add(factor, value, total[t]))
    for t in range(TAP_BLOCK):
        place = first + (tap + t) * C + c
        store_first(partials, place, add(load_first(partials, place, valid), total[t]), valid)
