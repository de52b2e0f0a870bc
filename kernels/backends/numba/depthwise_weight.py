"""The weight gradient of depthwise convolutions: sums over pixels, in registers.

The image falls into rectangles of pixels that have the same taps: its inside all of them, its edges
those that do not leave it. A rectangle is gone through once for some vectors of channels and some
taps, whose sums are in registers. Where windows slide along a row, as in ``depthwise_sliding``, the
rectangles are as wide as the image. Nothing is copied. (A copy with zeros around it, one vector of
channels at a time, needs no rectangles but costs more than they do: 8 images of 128×56×56, stride
2, on 2 threads of Zen 4 took 0.31 ms, 0.20 now.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import (
    LOAD,
    PARTIALS,
    PARTIALS_SIZE,
    PARTS,
    SEGMENTS,
    SHAPES,
    SLOTS,
    SLOTTED,
    X,
    doubles_at,
    integers_at,
    shape_at,
)
from kernels.backends.numba.depthwise_weight_kernel import (
    BOTTOM,
    FIRST,
    LAST,
    RECTANGLE,
    TAP,
    TAPS,
    TOP,
    VECTORS,
    add_first_products,
    add_first_tap,
    add_products,
    add_tap,
    slide_first_products,
    slide_products,
)
from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.jit import serial
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import at_address, lanes, pointer

BLOCK_PIXELS = 112
"""Pixels, in whole rows, that are gone through for some channels before the next ones: what these
read of a cached page stays there. With 28 pixels 512×14×14 took 0.31 ms instead of 0.21."""


def make_accumulate(accumulate_rows: Callable[..., None]) -> Callable[[Any, Any, int], None]:
    """Make a task of what adds up what some rows of rectangles give."""

    @serial
    def accumulate_band(sums, work, call, s, image, first, last, g_from, g_to):
        """Add what a band of an image gives, a block of rows with the same taps after the other."""
        table, nothing = integers_at(call[SEGMENTS], 0), pointer(work, 0)
        source, grad = at_address(work, call[X]), at_address(work, call[LOAD + X])
        block, across = max(1, BLOCK_PIXELS // s.target_columns), s.rectangles_across * RECTANGLE
        for at in range(0, s.rectangles * RECTANGLE, across):
            end = min(last, table[at + BOTTOM])
            for row in range(max(first, table[at + TOP]), end, block):
                place = (image * s.source_rows + row * s.row_step) * s.source_columns
                pixel = (image * s.target_rows + row) * s.target_columns
                accumulate_rows(
                    sums, source, place * s.source_channels, grad, pixel * s.target_channels,
                    s, table, at, at + across, min(block, end - row), g_from, g_to, nothing,
                )  # fmt: skip

    def accumulate(work, call, part):
        """Sum the weight gradient over a part of the bands of rows, for a part of the groups."""
        s, width = shape_at(call[SHAPES], 0), lanes(work)
        share, g_from = part // s.parts, part % s.parts * s.part_channels
        g_to = min(s.groups, g_from + s.part_channels)
        sums, own = at_address(work, call[PARTIALS]), s.out_group * s.terms
        sums = pointer(sums, share * call[PARTIALS_SIZE])
        clear(sums, g_from * own, -(-(g_to - g_from) // width) * width * own)
        clear(work, 0, s.inner_place)
        tasks = s.images * s.bands
        for task in range(share * tasks // call[PARTS], (share + 1) * tasks // call[PARTS]):
            image, first = task // s.bands, task % s.bands * s.band_rows
            last = min(first + s.band_rows, s.target_rows)
            accumulate_band(sums, work, call, s, image, first, last, g_from, g_to)
            if call[SLOTTED] > 0 and g_from == 0:
                _sum_gradients(work, call, s, image * s.target_rows + first, last - first, share)

    return accumulate


@serial
def _sum_gradients(work, call, s, row, rows, share):
    """Add some rows of gradients to the bias's."""
    C, grad, slots = s.target_channels, at_address(work, call[LOAD + X]), doubles_at(call[SLOTS], 0)
    first, pixels = row * s.target_columns * C, rows * s.target_columns
    sum_pixels(grad, first, pixels, C, C, slots, share * C, work, s.inner_place)


@serial
def _accumulate_rows(
    sums, source, place, grad, pixel, s, table, at, end, rows, c_from, c_to, nothing,
):  # fmt: skip
    """Add what some rows of rectangles give, some vectors of channels after the other."""
    width, together = lanes(source), TAPS if s.terms > 1 else 1
    for c in range(c_from, c_to, VECTORS * width):
        for rectangle in range(at, end, RECTANGLE):
            for tap in range(table[rectangle + FIRST], table[rectangle + LAST], together * TAP):
                where = (sums, source, place, grad, pixel, s, table, rectangle, tap, rows)
                if c + VECTORS * width <= c_to:
                    if s.sliding > 0:
                        slide_products(*where, c, width, nothing)
                    elif together > 1:
                        add_products(*where, c, width)
                    else:
                        add_tap(*where, c, width)
                    continue
                for v in range(c, c_to, width):
                    valid = min(width, c_to - v)
                    if s.sliding > 0:
                        slide_first_products(*where, v, valid, nothing)
                    elif together > 1:
                        add_first_products(*where, v, valid)
                    else:
                        add_first_tap(*where, v, valid)


ACCUMULATE_DEPTHWISE = Task(make_accumulate(_accumulate_rows), name="accumulate_depthwise")
