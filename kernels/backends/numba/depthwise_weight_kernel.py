"""The inner loops of the weight gradient of depthwise convolutions: sums over pixels, in registers.

Each adds up the products of some taps and some vectors of channels over rows of a rectangle; arrays
are pointers. A pixel of a rectangle costs a load of its gradient and, for each tap, a multiply-add
from memory; where windows slide along a row, it costs four loads. 8 images of 512×14×14, 2 threads
of Zen 4, in turn: 0.34 ms with rectangles, 0.22 so; of 72×28×28 0.17 and 0.10, of 960×7×7 0.17
and 0.11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.depthwise_sliding import ROWS, WIDTH
from kernels.backends.numba.jit import unrolled
from kernels.backends.numba.vector import (
    add,
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
"""Whose sums are in registers at once: 18 of AVX-512's 32 registers, 9 of AVX2's 16.
Where windows slide, three gradients and a pixel come to it for each vector: 26 and 13."""

PIXELS_AHEAD = 16
"""How far ahead is fetched."""

TOP, BOTTOM, LEFT, RIGHT, FIRST, LAST, RECTANGLE = range(7)
"""What the table has for each rectangle: its target pixels, and from where to where its taps are in
the table."""

NUMBER, OFFSET, TAP = range(3)
"""What it has for each tap: which of the window's it is, and how far its source pixel is. A tap -1
fills those of a rectangle up that are summed last, and is not stored. Windows of one tap have that
alone."""


def _make_sums(taps: int, vectors: int, *, whole: bool) -> Callable[..., Any]:
    """Make what adds up the products of some taps and some vectors over rows of a rectangle."""
    count = taps * vectors

    @unrolled
    def add_products(
        sums, source, place, grad, pixel, s, table, rectangle, tap, rows, c, valid,
    ):  # fmt: skip
        C, width, step = s.source_channels, lanes(source), s.column_step * s.source_channels
        total, offsets = repeat(zeros(source), count), repeat(c, taps)
        for k in range(taps):
            offsets = replaced(offsets, k, place + c + table[tap + k * TAP + OFFSET])
        for i in range(rows):
            at = i * s.row_step * s.source_columns * C
            g = pixel + i * s.target_columns * C + c
            for j in range(table[rectangle + LEFT], table[rectangle + RIGHT]):
                for v in range(vectors):
                    ahead = PIXELS_AHEAD * C + v * width
                    prefetch(grad, g + j * C + ahead)
                    prefetch(source, at + offsets[taps - 1] + j * step + ahead)
                for v in range(vectors):
                    to = g + j * C + v * width
                    factor = load(grad, to) if whole else load_first(grad, to, valid)
                    for k in range(taps):
                        x = at + offsets[k] + j * step + v * width
                        value = load(source, x) if whole else load_first(source, x, valid)
                        n = k * vectors + v
                        total = replaced(total, n, multiply_add(factor, value, total[n]))
        for k in range(taps):
            number = table[tap + k * TAP + NUMBER]
            if number >= 0:
                for v in range(vectors):
                    to = (c + v * width) * s.terms + number * width
                    store(sums, to, add(load(sums, to), total[k * vectors + v]))

    return add_products


add_products = _make_sums(TAPS, VECTORS, whole=True)
add_first_products = _make_sums(TAPS, 1, whole=False)
add_tap, add_first_tap = _make_sums(1, VECTORS, whole=True), _make_sums(1, 1, whole=False)


def _make_sliding(vectors: int, *, whole: bool) -> Callable[..., Any]:
    """Make the same for windows that slide along a row: all of their taps at once.

    A gradient meets the source pixels of three columns; beyond the ends of its row there are zeros,
    ``nothing``. A rectangle's columns are the source's, and counted from the first one in the first
    target pixel's window. Window rows that there are not are those of another tap, and not stored.
    """
    count, window = TAPS * vectors, WIDTH * vectors

    @unrolled
    def slide_products(
        sums, source, place, grad, pixel, s, table, rectangle, tap, rows, c, valid, nothing,
    ):  # fmt: skip
        C, width = s.source_channels, lanes(source)
        first, last = table[rectangle + LEFT], table[rectangle + RIGHT]
        total = repeat(zeros(source), count)
        for i in range(rows):
            pixels = repeat(source, ROWS)
            for r in range(ROWS):
                at = place + (i * s.row_step * s.source_columns + first) * C + c
                at += table[tap + r * WIDTH * TAP + OFFSET]
                pixels = replaced(pixels, r, pointer(source, at))
            row = pointer(grad, pixel + i * s.target_columns * C + c)
            factors = repeat(zeros(source), window)
            for k in range(WIDTH - 1):
                if k < first:
                    before = pointer(row, (first - 1 - k) * C)
                    for v in range(vectors):
                        value = load(before, v * width) if whole else load_first(before, 0, valid)
                        factors = replaced(factors, k * vectors + v, value)
            for column in range(first, last):
                following = pointer(row, column * C) if column < s.target_columns else nothing
                for v in range(vectors):
                    for k in range(WIDTH - 1, 0, -1):
                        moved = factors[(k - 1) * vectors + v]
                        factors = replaced(factors, k * vectors + v, moved)
                    value = load(following, v * width) if whole else load_first(following, 0, valid)
                    factors = replaced(factors, v, value)
                    prefetch(row, (column + PIXELS_AHEAD) * C + v * width)
                    prefetch(pixels[ROWS - 1], PIXELS_AHEAD * C + v * width)
                for r in range(ROWS):
                    for v in range(vectors):
                        at = pixels[r]
                        value = load(at, v * width) if whole else load_first(at, 0, valid)
                        for k in range(WIDTH):
                            n = (r * WIDTH + k) * vectors + v
                            product = multiply_add(value, factors[k * vectors + v], total[n])
                            total = replaced(total, n, product)
                    pixels = replaced(pixels, r, pointer(pixels[r], C))
        for k in range(TAPS):
            number = table[tap + k * TAP + NUMBER]
            if number >= 0:
                for v in range(vectors):
                    to = (c + v * width) * s.terms + number * width
                    store(sums, to, add(load(sums, to), total[k * vectors + v]))

    return slide_products


slide_products = _make_sliding(VECTORS, whole=True)
slide_first_products = _make_sliding(1, whole=False)
