"""The inner loops of depthwise convolutions: tiles of pixels × channel vectors in registers.

There is no sum over channels, so channels fill the vectors. Each tap of the window costs a tile one
load per vector of weights, which lie ``[tap][channel]``, and one multiply-add from memory per pixel
and vector: on Zen 4, where loads are as fast as multiply-adds, 7/6 of the time that those take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.depthwise_plan import COLUMN, OFFSET
from kernels.backends.numba.jit import serial
from kernels.backends.numba.vector import (
    lanes,
    load,
    load_first,
    multiply_add,
    repeat,
    replaced,
    store,
    store_first,
    zeros,
)

TILE_PIXELS, TILE_VECTORS = 6, 2
"""12 sums and 2 vectors of weights: they fit AVX2's 16 registers, too."""


def _make_tile(pixels: int, vectors: int) -> Callable[..., Any]:
    """Make the tile of ``pixels`` pixels by ``vectors`` whole vectors."""
    count = pixels * vectors

    @serial
    def tile(target, to, to_step, source, at, at_step, weights, start, C, c, taps, begin, end):
        width = lanes(source)
        total = repeat(zeros(source), count)
        for v in range(vectors):
            for i in range(pixels):
                total = replaced(total, i * vectors + v, load(start, c + v * width))
        for t in range(begin, end):
            place = at + taps[t, OFFSET] + c
            for v in range(vectors):
                weight = load(weights, t * C + c + v * width)
                for i in range(pixels):
                    value = load(source, place + i * at_step + v * width)
                    k = i * vectors + v
                    total = replaced(total, k, multiply_add(value, weight, total[k]))
        for i in range(pixels):
            for v in range(vectors):
                store(target, to + i * to_step + c + v * width, total[i * vectors + v])

    return tile


def _make_edge(pixels: int) -> Callable[..., Any]:
    """Make the tile of ``pixels`` pixels by the lanes of one vector that are channels."""

    @serial
    def edge(target, to, to_step, source, at, at_step, weights, start, C, c, taps, begin, end):
        valid = min(C - c, lanes(source))
        total = repeat(load_first(start, c, valid), pixels)
        for t in range(begin, end):
            weight = load_first(weights, t * C + c, valid)
            for i in range(pixels):
                value = load_first(source, at + i * at_step + taps[t, OFFSET] + c, valid)
                total = replaced(total, i, multiply_add(value, weight, total[i]))
        for i in range(pixels):
            store_first(target, to + i * to_step + c, total[i], valid)

    return edge


_tile = _make_tile(TILE_PIXELS, TILE_VECTORS)
_edge = _make_edge(TILE_PIXELS)


@serial
def gather_pixels(target, to, to_step, source, at, at_step, weights, start, C, taps, begin, end):
    """Write TILE_PIXELS targets, ``to_step`` apart, of sources ``at_step`` apart, in all channels.

    Channels run inside pixels: memory is read in the order in which it lies.
    """
    whole = C - C % (TILE_VECTORS * lanes(source))
    for c in range(0, whole, TILE_VECTORS * lanes(source)):
        _tile(target, to, to_step, source, at, at_step, weights, start, C, c, taps, begin, end)
    for c in range(whole, C, lanes(source)):
        _edge(target, to, to_step, source, at, at_step, weights, start, C, c, taps, begin, end)


@serial
def gather_pixel(target, to, source, at, weights, start, C, taps, begin, end, column, columns):
    """Write one target, leaving out taps left and right of the image."""
    for c in range(0, C, lanes(source)):
        valid = min(C - c, lanes(source))
        total = load_first(start, c, valid)
        for t in range(begin, end):
            if 0 <= column + taps[t, COLUMN] < columns:
                value = load_first(source, at + taps[t, OFFSET] + c, valid)
                total = multiply_add(value, load_first(weights, t * C + c, valid), total)
        store_first(target, to + c, total, valid)
