"""The weight gradient of depthwise convolutions: sums over pixels, in registers.

The image falls into rectangles of pixels that have the same taps: its inside all of them, its edges
those that do not leave it. A rectangle is gone through once for some vectors of channels and some
taps, whose sums are in registers: each pixel costs a load and as many multiply-adds from memory as
there are taps. Nothing is copied. (A copy with zeros around it, one vector of channels at a time,
needs no rectangles but costs more than they do: 8 images of 128×56×56, stride 2, on 2 threads of
Zen 4 took 0.31 ms, 0.20 now; 32×112×112 0.83, now 0.49.)
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
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.jit import serial, unrolled
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    add,
    at_address,
    lanes,
    load,
    load_first,
    multiply_add,
    pointer,
    prefetch,
    repeat,
    replaced,
    store,
    zeros,
)

TAPS, VECTORS = 9, 2 if REGISTER_BYTES == 64 else 1
"""Whose sums are in registers at once: 18 of AVX-512's 32 registers, 9 of AVX2's 16."""

BLOCK_PIXELS = 112
"""Pixels, in whole rows, that are gone through for some channels before the next ones: what these
read of a cached page stays there. 14 pixels took a fifth longer for 512×14×14."""

PIXELS_AHEAD = 16
"""How far ahead is fetched."""

TOP, BOTTOM, LEFT, RIGHT, FIRST, LAST, RECTANGLE = range(7)
"""What the table has for each rectangle: its target pixels, and from where to where its taps are in
the table."""

NUMBER, OFFSET, TAP = range(3)
"""What it has for each tap: which of the window's it is, and how far its source pixel is. A tap -1
fills the last TAPS of a rectangle up, and is not stored."""


def accumulate_depthwise(work, call, part):
    """Sum the weight gradient over a part of the bands of rows, for a part of the channels."""
    s = shape_at(call[SHAPES], 0)
    share, c_from = part // s.parts, part % s.parts * s.part_channels
    c_to = min(s.source_channels, c_from + s.part_channels)
    sums = pointer(at_address(work, call[PARTIALS]), share * call[PARTIALS_SIZE])
    clear(sums, c_from * s.terms, -(-(c_to - c_from) // lanes(work)) * lanes(work) * s.terms)
    tasks = s.images * s.bands
    for task in range(share * tasks // call[PARTS], (share + 1) * tasks // call[PARTS]):
        image, first = task // s.bands, task % s.bands * s.band_rows
        last = min(first + s.band_rows, s.target_rows)
        _accumulate_band(sums, work, call, s, image, first, last, c_from, c_to)
        if call[SLOTTED] > 0 and c_from == 0:
            _sum_gradients(work, call, s, image * s.target_rows + first, last - first, share)


@serial
def _sum_gradients(work, call, s, row, rows, share):
    """Add some rows of gradients to the bias's."""
    C, grad, slots = s.target_channels, at_address(work, call[LOAD + X]), doubles_at(call[SLOTS], 0)
    first, pixels = row * s.target_columns * C, rows * s.target_columns
    sum_pixels(grad, first, pixels, C, C, slots, share * C, work, 0)


@serial
def _accumulate_band(sums, work, call, s, image, first, last, c_from, c_to):
    """Add what a band of an image gives, a block of rows with the same taps after the other."""
    C, table = s.source_channels, integers_at(call[SEGMENTS], 0)
    source, grad = at_address(work, call[X]), at_address(work, call[LOAD + X])
    block, across = max(1, BLOCK_PIXELS // s.target_columns), s.rectangles_across * RECTANGLE
    for at in range(0, s.rectangles * RECTANGLE, across):
        end = min(last, table[at + BOTTOM])
        for row in range(max(first, table[at + TOP]), end, block):
            place = (image * s.source_rows + row * s.row_step) * s.source_columns * C
            pixel = (image * s.target_rows + row) * s.target_columns * C
            _accumulate_rows(
                sums, source, place, grad, pixel, s, table, at, at + across,
                min(block, end - row), c_from, c_to,
            )  # fmt: skip


@serial
def _accumulate_rows(
    sums, source, place, grad, pixel, s, table, at, end, rows, c_from, c_to,
):  # fmt: skip
    """Add what some rows of rectangles give, some vectors of channels after the other."""
    width = lanes(source)
    for c in range(c_from, c_to, VECTORS * width):
        for rectangle in range(at, end, RECTANGLE):
            for tap in range(table[rectangle + FIRST], table[rectangle + LAST], TAPS * TAP):
                where = (sums, source, place, grad, pixel, s, table, rectangle, tap, rows)
                if c + VECTORS * width <= c_to:
                    _add_products(*where, c, width)
                else:
                    for v in range(c, c_to, width):
                        _add_first_products(*where, v, min(width, c_to - v))


def _make_sums(vectors: int, *, whole: bool) -> Callable[..., Any]:
    """Make what adds up the products of ``TAPS`` taps and some vectors over rows of a rectangle."""
    count = TAPS * vectors

    @unrolled
    def add_products(
        sums, source, place, grad, pixel, s, table, rectangle, tap, rows, c, valid,
    ):  # fmt: skip
        C, width, step = s.source_channels, lanes(source), s.column_step * s.source_channels
        total, offsets = repeat(zeros(source), count), repeat(c, TAPS)
        for k in range(TAPS):
            offsets = replaced(offsets, k, place + c + table[tap + k * TAP + OFFSET])
        for i in range(rows):
            at = i * s.row_step * s.source_columns * C
            g = pixel + i * s.target_columns * C + c
            for j in range(table[rectangle + LEFT], table[rectangle + RIGHT]):
                for v in range(vectors):
                    ahead = PIXELS_AHEAD * C + v * width
                    prefetch(grad, g + j * C + ahead)
                    prefetch(source, at + offsets[TAPS - 1] + j * step + ahead)
                for v in range(vectors):
                    to = g + j * C + v * width
                    factor = load(grad, to) if whole else load_first(grad, to, valid)
                    for k in range(TAPS):
                        x = at + offsets[k] + j * step + v * width
                        value = load(source, x) if whole else load_first(source, x, valid)
                        n = k * vectors + v
                        total = replaced(total, n, multiply_add(factor, value, total[n]))
        for k in range(TAPS):
            number = table[tap + k * TAP + NUMBER]
            if number >= 0:
                for v in range(vectors):
                    to = (c + v * width) * s.terms + number * width
                    store(sums, to, add(load(sums, to), total[k * vectors + v]))

    return add_products


_add_products, _add_first_products = _make_sums(VECTORS, whole=True), _make_sums(1, whole=False)

ACCUMULATE_DEPTHWISE = Task(accumulate_depthwise)
