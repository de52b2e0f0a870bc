"""Convolutions of few channels a group, read where they are: a task for each number of channels.

The loop nests are those of depthwise convolutions, ``depthwise`` and ``depthwise_weight``. What
loads pixels through a batch-norm or a mask copies them, as ``grouped`` does. 32 images of 64×28×28
on 2 threads of Zen 5, ms as ``grouped`` and now, in turn: in 32 groups 3×3 0.46 and 0.25, 1×1 0.24
and 0.12, 3×3 with stride 2 0.19 and 0.12; each channel to two through 3×3 0.65 and 0.37.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from kernels.backends.numba.calls import SEGMENTS, START, TARGET, WEIGHTS, X
from kernels.backends.numba.depthwise import GATHER_DEPTHWISE, make_gather
from kernels.backends.numba.depthwise_sliding import WIDTH
from kernels.backends.numba.depthwise_weight import ACCUMULATE_DEPTHWISE, make_accumulate
from kernels.backends.numba.depthwise_weight_kernel import FIRST, LAST, RECTANGLE, TAP
from kernels.backends.numba.grouped_sliding import make_slide
from kernels.backends.numba.grouped_tiles import make_tiles
from kernels.backends.numba.grouped_weight_kernel import make_sliding, make_sums
from kernels.backends.numba.jit import serial
from kernels.backends.numba.one_tap import one_tap_row
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import at_address, lanes, pointer

TILE_PRODUCTS = 16
"""Multiply-adds of a tile for each tap: of more, LLVM leaves some loops as they are, and the sums
go to memory (8 pixels of 2 to 2 channels took 5 times as long as 4)."""


def tile_pixels(ins: int, outs: int) -> int:
    """Return the pixels of a tile."""
    return max(1, TILE_PRODUCTS // (ins * outs))


@functools.cache
def gather_in_place(ins: int, outs: int, sliding: int) -> Task:
    """Return the task for groups of ``ins`` source channels and ``outs`` target channels."""
    if ins == outs == 1:
        return GATHER_DEPTHWISE
    name = f"gather_{ins}_to_{outs}"
    if sliding:
        return Task(make_gather(_sliding_row(ins, outs)), name=f"{name}_sliding")
    return Task(make_gather(_tiled_row(ins, outs)), name=name)


def _sliding_row(ins: int, outs: int) -> Callable[..., None]:
    """Make what writes a row whose windows slide."""
    slide, slide_rest = make_slide(ins, outs, whole=True), make_slide(ins, outs, whole=False)
    without_taps = make_tiles(ins, outs, 1, whole=False)

    @serial
    def sliding_row(work, call, s, phase, to, at, begin, end, below):
        G, target, source = s.groups, at_address(work, call[TARGET]), at_address(work, call[X])
        weights, start = at_address(work, call[WEIGHTS]), at_address(work, call[START])
        whole = G - G % lanes(work)
        row_of = (G, call[SEGMENTS], begin, end)
        if begin < end:
            arrays = (target, to, source, at, weights, s.terms, start, pointer(work, 0))
            slide(*arrays, *row_of, s.target_columns, below, 0, whole)
            slide_rest(*arrays, *row_of, s.target_columns, below, whole, G)
        else:
            arrays = (target, to, s.target_channels, source, at, 0, weights, s.terms, start)
            without_taps(*arrays, *row_of, 0, s.target_columns, 0, G)

    return sliding_row


def _tiled_row(ins: int, outs: int) -> Callable[..., None]:
    """Make what writes any row, in tiles where no tap clips."""
    pixels = tile_pixels(ins, outs)
    tiles = make_tiles(ins, outs, pixels, whole=True)
    rest, ends = make_tiles(ins, outs, pixels, whole=False), make_tiles(ins, outs, 1, whole=False)
    one_tap = one_tap_row(ins, outs)

    @serial
    def tiled_row(work, call, s, phase, to, at, begin, end, below):
        first, last = phase.whole_begin, phase.whole_end
        target, source = at_address(work, call[TARGET]), at_address(work, call[X])
        weights, start = at_address(work, call[WEIGHTS]), at_address(work, call[START])
        at_step = s.column_step * s.source_channels
        to_step = s.target_column_step * s.target_channels
        arrays = (target, to, to_step, source, at, at_step, weights, s.terms, start)
        row_of = (s.groups, call[SEGMENTS], begin, end)
        if end - begin == 1:
            below = below if s.row_step == s.column_step == 1 else 0
            one_tap(*arrays, s.groups, call[SEGMENTS], begin, first, last, below)
        else:
            if last - first < pixels:
                last = first
            whole = s.groups - s.groups % lanes(work)
            tiles(*arrays, *row_of, first, last, 0, whole)
            rest(*arrays, *row_of, first, last, whole, s.groups)
        ends(*arrays, *row_of, 0, first, 0, s.groups)
        ends(*arrays, *row_of, last, phase.columns, 0, s.groups)

    return tiled_row


@functools.cache
def accumulate_in_place(ins: int, outs: int, sliding: int, several: bool) -> Task:
    """Return the task for the weights' gradient; ``several`` taps are summed at once, or one."""
    if ins == outs == 1:
        return ACCUMULATE_DEPTHWISE
    taps = WIDTH if several else 1
    if sliding:
        products, rest = (make_sliding(ins, outs, whole=whole) for whole in (True, False))
    else:
        products, rest = (make_sums(ins, outs, taps, whole=whole) for whole in (True, False))

    @serial
    def accumulate_rows(
        sums, source, place, grad, pixel, s, table, at, end, rows, g_from, g_to, nothing,
    ):  # fmt: skip
        width = lanes(source)
        for g in range(g_from, g_to, width):
            for rectangle in range(at, end, RECTANGLE):
                for tap in range(table[rectangle + FIRST], table[rectangle + LAST], taps * TAP):
                    where = (sums, source, place, grad, pixel, s, table, rectangle, tap, rows, g)
                    if g_to - g >= width:
                        products(*where, width, nothing)
                    else:
                        rest(*where, g_to - g, nothing)

    name = f"accumulate_{ins}_to_{outs}" + ("_sliding" if sliding else f"_{taps}_taps")
    return Task(make_accumulate(accumulate_rows), name=name)
