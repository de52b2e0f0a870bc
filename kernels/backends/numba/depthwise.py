"""The loop nest of depthwise convolutions forward and backward to the input.

Every channel has a filter of its own; ``grouped_in_place`` has the rows of those where every few
channels have theirs. One task is a band of target rows of one image, as in ``gathering``, but
nothing is copied. Windows of the usual width slide along a row, see ``depthwise_sliding``;
otherwise the pixels of a row whose taps all lie in the image are done in tiles, those at its ends
one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import (
    PHASES,
    SEGMENTS,
    SHAPES,
    START,
    TARGET,
    WEIGHTS,
    X,
    row_phase_at,
    shape_at,
    tap_at,
)
from kernels.backends.numba.depthwise_kernel import (
    TILE_PIXELS,
    gather_edges,
    gather_end_edges,
    gather_ends,
    gather_tiles,
)
from kernels.backends.numba.depthwise_sliding import VECTORS, slide, slide_rest
from kernels.backends.numba.depthwise_striding import FEW_ROWS, make_gathering, make_scattering
from kernels.backends.numba.gathering import finish_band
from kernels.backends.numba.jit import serial
from kernels.backends.numba.one_tap import one_tap_row
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import at_address, lanes, pointer, prefetch

_one_tap = one_tap_row(1, 1)

LEAST_FETCHED = 2**20
"""Source elements from which on a row is fetched ahead with stride 2: images of 1.6 to 3 MB took
1.08 and 1.02 times as long with it, of 6 to 38 MB 0.88 to 1.0."""


def make_gather(write_row: Callable[..., None]) -> Callable[[Any, Any, int], None]:
    """Make a task of what writes those pixels of a target row that are of a phase."""

    @serial
    def gather_row(work, call, s, image, row, number):
        """Find the taps of a row."""
        phase, taps = row_phase_at(call[PHASES], number), call[SEGMENTS]
        source_row = row // s.target_row_step * s.row_step
        step = s.source_columns * s.source_channels
        begin, end = taps_inside(s, phase, taps, source_row)
        at = (image * s.source_rows + source_row) * step
        to = (image * s.target_rows + row) * s.target_columns + phase.first_column
        below = at + (tap_at(taps, end - 1).row + 1) * step if begin < end else 0
        write_row(work, call, s, phase, to * s.target_channels, at, begin, end, below)

    def gather(work, call, task):
        """Gather a band of target rows, then finish it while it is in cache."""
        s = shape_at(call[SHAPES], 0)
        image, first = task // s.bands, task % s.bands * s.band_rows
        last = min(first + s.band_rows, s.target_rows)
        clear(work, 0, s.inner_place)
        for i in range(first, last):
            for j in range(s.phases):
                gather_row(work, call, s, image, i, i % s.target_row_step * s.phases + j)
        row = image * s.target_rows + first
        begin = row * s.target_columns * s.target_channels
        pixels = (last - first) * s.target_columns
        target = at_address(work, call[TARGET])
        finish_band(target, begin, row, pixels, 0, s.target_channels, call, s, task, work)

    return gather


@serial
def _write_row(work, call, s, phase, to, at, begin, end, below):
    """Write some pixels of a row of channels."""
    if s.sliding > 0 and begin < end:
        _slide_row(work, call, s, to, at, begin, end, below)
    else:
        _tile_row(work, call, s, phase, to, at, begin, end, below)


@serial
def _slide_row(work, call, s, to, at, begin, end, below):
    """Write a target row whose windows slide."""
    C, target, source = s.source_channels, at_address(work, call[TARGET]), at_address(work, call[X])
    weights, start = at_address(work, call[WEIGHTS]), at_address(work, call[START])
    arrays = (target, to, source, at, weights, s.terms, start, pointer(work, 0))
    row_of = (C, call[SEGMENTS], begin, end, s.target_columns, below)
    whole = C - C % (VECTORS * lanes(work))
    slide(*arrays, *row_of, 0, whole)
    slide_rest(*arrays, *row_of, whole, C)


@serial
def _tile_row(work, call, s, phase, to, at, begin, end, below):
    """Write the pixels of a target row that are of a phase, in tiles where no tap clips."""
    C, target, source = s.source_channels, at_address(work, call[TARGET]), at_address(work, call[X])
    at_step, to_step = s.column_step * C, s.target_column_step * C
    tiles_begin, tiles_end = phase.whole_begin, phase.whole_end
    if tiles_end - tiles_begin < TILE_PIXELS and end - begin != 1:
        tiles_end = tiles_begin
    if below > 0 and (s.row_step > 1 or s.column_step > 1):
        if end - begin > 1:
            _prefetch(source, below, below + s.row_step * s.source_columns * C)
        below = 0
    weights, start = at_address(work, call[WEIGHTS]), at_address(work, call[START])
    arrays = (target, to, to_step, source, at, at_step, weights, s.terms, start)
    row_of = (C, call[SEGMENTS], begin, end, tiles_begin, tiles_end)
    if end - begin == 1:
        _one_tap(*arrays, C, call[SEGMENTS], begin, tiles_begin, tiles_end, below)
    else:
        gather_tiles(*arrays, *row_of, below)
        gather_edges(*arrays, *row_of)
    gather_ends(*arrays, *row_of, phase.columns)
    gather_end_edges(*arrays, *row_of, phase.columns)


@serial
def taps_inside(s, phase, taps, source_row):
    """Return the range of a phase's taps whose rows lie in the image."""
    begin, end = phase.first_tap, phase.end_tap
    while begin < end and not 0 <= source_row + tap_at(taps, begin).row < s.source_rows:
        begin += phase.taps_across
    while begin < end and not 0 <= source_row + tap_at(taps, end - 1).row < s.source_rows:
        end -= phase.taps_across
    return begin, end


@serial
def _prefetch(source, begin, end):
    """Fetch what the next row of targets will read for the first time, where tiles do not.

    With stride 1 each tile fetches its part, which does not keep a core waiting at the beginning of
    a row: 8 images of 32×112×112, windows 5 wide, took 2.1 ms instead of 2.6 on 2 threads of Zen 4.
    With stride 2 that was slower (windows 3 wide: 0.35 and 0.23 ms).
    """
    for place in range(begin, end, lanes(source)):
        prefetch(source, place)


_gather_whole, _gather_rest = make_gathering(VECTORS, whole=True), make_gathering(1, whole=False)


@serial
def _striding_row(work, call, s, phase, to, at, begin, end, below):
    """Write a target row, each of whose pixels reads two columns that the one before did not."""
    C, target, source = s.source_channels, at_address(work, call[TARGET]), at_address(work, call[X])
    weights, start = at_address(work, call[WEIGHTS]), at_address(work, call[START])
    arrays = (target, to, source, at, weights, s.terms, start, pointer(work, 0))
    row_of = (C, call[SEGMENTS], begin, end, s.source_columns, s.target_columns, -s.first_column)
    whole, down = C - C % (VECTORS * lanes(work)), (s.row_step - 1) * s.source_columns * C
    if s.images * s.source_rows * s.source_columns * C < LEAST_FETCHED:
        below = 0
    _gather_whole(*arrays, *row_of, below, down, 0, whole)
    _gather_rest(*arrays, *row_of, below, down, whole, C)


def _scattering_row(columns: int, step: int) -> Callable[..., None]:
    """Make what writes a target row as source columns come, each of which goes to several."""
    one_row = make_scattering(1, columns, step, VECTORS, whole=True)
    few_rows = make_scattering(FEW_ROWS, columns, step, VECTORS, whole=True)
    rest = make_scattering(FEW_ROWS, columns, step, 1, whole=False)

    @serial
    def scatter_row(work, call, s, phase, to, at, begin, end, below):
        C, target = s.source_channels, at_address(work, call[TARGET])
        weights, start = at_address(work, call[WEIGHTS]), at_address(work, call[START])
        source, nothing = at_address(work, call[X]), pointer(work, 0)
        arrays = (target, to, source, at, weights, s.terms, start, nothing)
        pixels, left = s.source_columns, -s.first_column
        row_of = (C, call[SEGMENTS], begin, end, pixels, s.target_columns, left, below)
        whole = C - C % (VECTORS * lanes(work))
        if end - begin > columns:
            few_rows(*arrays, *row_of, 0, whole)
        else:
            one_row(*arrays, *row_of, 0, whole)
        rest(*arrays, *row_of, whole, C)

    return scatter_row


GATHER_DEPTHWISE = Task(make_gather(_write_row), name="gather_depthwise")
GATHER_STRIDING = Task(make_gather(_striding_row), name="gather_depthwise_striding")


@functools.cache
def scatter_striding(columns: int, step: int) -> Task:
    """Return the task for windows of so many columns, backward to the input."""
    name = f"scatter_depthwise_{columns}_by_{step}"
    return Task(make_gather(_scattering_row(columns, step)), name=name)
