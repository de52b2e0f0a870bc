"""The inner loops of depthwise convolutions: tiles of pixels × channel vectors in registers.

There is no sum over channels, so channels fill the vectors. Each tap of the window costs a tile one
load per vector of weights, which lie ``[vector][tap][lane]``, and one multiply-add from memory per
pixel and vector. Each function does a whole row. Weights, and what is started from, fill up their
last vectors. Arrays are pointers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.calls import tap_at
from kernels.backends.numba.jit import unrolled
from kernels.backends.numba.vector import (
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

TILE_PIXELS, TILE_VECTORS = 6, 2
"""12 sums and 2 vectors of weights: they fit AVX2's 16 registers, too."""

END_VECTORS = 4
"""Of a single pixel: as many independent sums as hide the latency of a multiply-add."""


def _make_tiles(pixels: int, vectors: int) -> Callable[..., Any]:
    """Make the loop over a row's tiles of ``pixels`` pixels by ``vectors`` whole vectors.

    Channels run inside pixels, in the order of memory. Each tile asks for its pixels of the row
    ``below``, if that is not 0, which the next row of targets reads for the first time.
    """
    count = pixels * vectors

    @unrolled
    def tiles(
        target, to, to_step, source, at, at_step, weights, terms, start,
        C, taps, begin, end, first, last, below,
    ):  # fmt: skip
        width = lanes(source)
        for j in range(first, last, pixels):
            i = min(j, last - pixels)  # the last tile does some pixels again
            for c in range(0, C - C % (vectors * width), vectors * width):
                total = repeat(zeros(source), count)
                for v in range(vectors):
                    for p in range(pixels):
                        total = replaced(total, p * vectors + v, load(start, c + v * width))
                if below > 0:
                    for p in range(pixels):
                        for v in range(vectors):
                            prefetch(source, below + (i + p) * at_step + c + v * width)
                for t in range(begin, end):
                    place = at + i * at_step + tap_at(taps, t).offset + c
                    for v in range(vectors):
                        weight = load(weights, (c + v * width) * terms + t * width)
                        for p in range(pixels):
                            value = load(source, place + p * at_step + v * width)
                            k = p * vectors + v
                            total = replaced(total, k, multiply_add(value, weight, total[k]))
                for p in range(pixels):
                    for v in range(vectors):
                        place = to + (i + p) * to_step + c + v * width
                        store(target, place, total[p * vectors + v])

    return tiles


def _make_edges(pixels: int, vectors: int) -> Callable[..., Any]:
    """Make the same for the channels that are left, one vector at a time."""

    @unrolled
    def edges(
        target, to, to_step, source, at, at_step, weights, terms, start,
        C, taps, begin, end, first, last,
    ):  # fmt: skip
        width = lanes(source)
        for j in range(first, last, pixels):
            i = min(j, last - pixels)
            for c in range(C - C % (vectors * width), C, width):
                valid = min(C - c, width)
                total = repeat(load(start, c), pixels)
                for t in range(begin, end):
                    place = at + i * at_step + tap_at(taps, t).offset + c
                    weight = load(weights, c * terms + t * width)
                    for p in range(pixels):
                        value = load_first(source, place + p * at_step, valid)
                        total = replaced(total, p, multiply_add(value, weight, total[p]))
                for p in range(pixels):
                    store_first(target, to + (i + p) * to_step + c, total[p], valid)

    return edges


gather_tiles = _make_tiles(TILE_PIXELS, TILE_VECTORS)
gather_edges = _make_edges(TILE_PIXELS, TILE_VECTORS)


def _make_ends(vectors: int, *, whole: bool) -> Callable[..., Any]:
    """Make the loop over a row's pixels outside the tiles, ``vectors`` vectors at a time.

    Either over whole vectors, or over the channels that are left, one vector at a time.
    """

    @unrolled
    def ends(
        target, to, to_step, source, at, at_step, weights, terms, start,
        C, taps, begin, end, first, last, columns,
    ):  # fmt: skip
        width = lanes(source)
        left_over = C % (END_VECTORS * width)
        c_begin, c_end = (0, C - left_over) if whole else (C - left_over, C)
        for pixel in range(first + columns - last):
            j = pixel if pixel < first else pixel - first + last
            for c in range(c_begin, c_end, vectors * width):
                valid = min(C - c, width)
                total = repeat(zeros(source), vectors)
                for v in range(vectors):
                    total = replaced(total, v, load(start, c + v * width))
                for t in range(begin, end):
                    tap = tap_at(taps, t)
                    if tap.begin <= j < tap.end:
                        place = at + j * at_step + tap.offset + c
                        for v in range(vectors):
                            value = load_first(source, place + v * width, valid)
                            weight = load(weights, (c + v * width) * terms + t * width)
                            total = replaced(total, v, multiply_add(value, weight, total[v]))
                for v in range(vectors):
                    store_first(target, to + j * to_step + c + v * width, total[v], valid)

    return ends


gather_ends = _make_ends(END_VECTORS, whole=True)
gather_end_edges = _make_ends(1, whole=False)
