"""Depthwise convolution and its gradients: every channel has a filter of its own.

One task is a band of target rows of one image, as in ``convolution``, but nothing is copied: a row
whose taps lie in the image is done in tiles, its ends pixel by pixel. The weight gradient is summed
in parts that depend on the shapes alone, so that its bits do not depend on the number of threads.
"""

from __future__ import annotations

import numba
import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.depthwise_kernel import (
    TILE_PIXELS,
    gather_edges,
    gather_end_edges,
    gather_ends,
    gather_tiles,
)
from kernels.backends.numba.depthwise_plan import (
    BAND_ROWS,
    BANDS,
    CHANNELS,
    COLUMNS,
    END_TAP,
    FIRST_COLUMN,
    FIRST_TAP,
    ROW,
    SOURCE_COLUMN_STEP,
    SOURCE_COLUMNS,
    SOURCE_ROW_STEP,
    SOURCE_ROWS,
    TAPS_ACROSS,
    TARGET_COLUMN_STEP,
    TARGET_COLUMNS,
    TARGET_ROW_STEP,
    TARGET_ROWS,
    TASKS,
    WHOLE_BEGIN,
    WHOLE_END,
    Plan,
    backward_plan,
    forward_plan,
)
from kernels.backends.numba.depthwise_weight import accumulate
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.memory import FlatOutput, flat_input, flat_parameter, read_only
from kernels.backends.numba.vector import lanes, prefetch
from kernels.geometry import ConvGeometry

MOST_PARTIALS = 16
"""Weight gradients that are summed side by side, and merged in their order."""


def fits(geometry: ConvGeometry) -> bool:
    """Tell whether each channel of x makes just one channel of y."""
    return 1 < geometry.groups == geometry.channels == geometry.out_channels


def conv2d(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None,
    geometry: ConvGeometry,
    *,
    out: FloatArray,
) -> None:
    """Gather each output from the inputs under its window."""
    start = np.zeros(geometry.channels, x.dtype) if bias is None else bias
    _run(x, weight, start, forward_plan(geometry), out)


def conv2d_backward_input(
    grad_y: FloatArray, weight: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Gather each input's gradient from the outputs it went into."""
    start = np.zeros(geometry.channels, grad_y.dtype)
    _run(grad_y, weight, start, backward_plan(geometry), out)


def conv2d_backward_weight(
    grad_y: FloatArray, x: FloatArray, geometry: ConvGeometry, *, out: FloatArray
) -> None:
    """Sum each tap's x · grad_y over pixels and images."""
    plan = forward_plan(geometry)
    count = max(1, min(MOST_PARTIALS, int(plan.sizes[TASKS])))
    partials = np.zeros((count, len(plan.taps), geometry.channels), x.dtype)
    flat = partials.reshape(-1)
    accumulate(_input(x), _input(grad_y), flat, count, plan.sizes, plan.taps)
    out[...] = partials.sum(axis=0)[: len(plan.order)].T.reshape(out.shape)


def _run(
    source: FloatArray, weight: FloatArray, start: FloatArray, plan: Plan, out: FloatArray
) -> None:
    by_tap = weight.reshape(len(weight), -1).T[plan.order].reshape(-1)
    tables = (plan.sizes, plan.phases, plan.taps)
    with FlatOutput(out) as target:
        _gather(
            _input(source), read_only(by_tap), read_only(flat_parameter(start)), target, *tables
        )


def _input(array: FloatArray) -> FloatArray:
    return read_only(flat_input(array))


@parallel
def _gather(source, weights, start, target, sizes, phases, taps):
    for task in numba.prange(sizes[TASKS]):
        _gather_band(source, weights, start, target, sizes, phases, taps, task)


@serial
def _gather_band(source, weights, start, target, sizes, phases, taps, task):
    image, first = task // sizes[BANDS], task % sizes[BANDS] * sizes[BAND_ROWS]
    row_phases = min(sizes[TARGET_ROW_STEP], sizes[TARGET_ROWS])
    column_phases = len(phases) // row_phases
    for row in range(first, min(first + sizes[BAND_ROWS], sizes[TARGET_ROWS])):
        for i in range(column_phases):
            phase = row % sizes[TARGET_ROW_STEP] * column_phases + i
            _gather_row(source, weights, start, target, sizes, phases, taps, image, row, phase)


@serial
def _gather_row(source, weights, start, target, sizes, phases, taps, image, row, phase):
    C, W = sizes[CHANNELS], sizes[SOURCE_COLUMNS]
    source_row = row // sizes[TARGET_ROW_STEP] * sizes[SOURCE_ROW_STEP]
    begin, end = _taps_inside(sizes, phases, taps, source_row, phase)
    at = (image * sizes[SOURCE_ROWS] + source_row) * W * C
    at_step, to_step = sizes[SOURCE_COLUMN_STEP] * C, sizes[TARGET_COLUMN_STEP] * C
    to = (image * sizes[TARGET_ROWS] + row) * sizes[TARGET_COLUMNS] * C
    to += phases[phase, FIRST_COLUMN] * C
    tiles_begin, tiles_end = phases[phase, WHOLE_BEGIN], phases[phase, WHOLE_END]
    if tiles_end - tiles_begin < TILE_PIXELS:
        tiles_end = tiles_begin
    below = at + (taps[end - 1, ROW] + 1) * W * C if begin < end else 0
    if begin < end and (sizes[SOURCE_ROW_STEP] > 1 or sizes[SOURCE_COLUMN_STEP] > 1):
        _prefetch(source, below, below + sizes[SOURCE_ROW_STEP] * W * C)
        below = 0
    arrays = (target, to, to_step, source, at, at_step, weights, start)
    row_of = (C, taps, begin, end, tiles_begin, tiles_end)
    gather_tiles(*arrays, *row_of, below)
    gather_edges(*arrays, *row_of)
    across = (phases[phase, COLUMNS], sizes[SOURCE_COLUMN_STEP], W)
    gather_ends(*arrays, *row_of, *across)
    gather_end_edges(*arrays, *row_of, *across)


@serial
def _taps_inside(sizes, phases, taps, source_row, phase):
    """Return the range of a phase's taps whose rows lie in the image."""
    begin, end = phases[phase, FIRST_TAP], phases[phase, END_TAP]
    across, rows = phases[phase, TAPS_ACROSS], sizes[SOURCE_ROWS]
    while begin < end and not 0 <= source_row + taps[begin, ROW] < rows:
        begin += across
    while begin < end and not 0 <= source_row + taps[end - 1, ROW] < rows:
        end -= across
    return begin, end


@serial
def _prefetch(source, begin, end):
    """Fetch what the next row of targets will read for the first time, where tiles do not.

    8 images of 128×56×56, forward: 0.9 ms, and 1.5 ms without it; 2 threads on Zen 4. With stride 1
    each tile fetches its part, which does not keep a core waiting at the beginning of a row: 8 of
    32×112×112 took 0.58 ms instead of 0.79. With stride 2 that was slower (0.35 and 0.23 ms).
    """
    for place in range(begin, end, lanes(source)):
        prefetch(source, place)
