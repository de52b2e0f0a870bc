"""Backward to the input where windows are about as large as the image: a phase for each pixel.

With 7×7 windows on 7×7 images each input pixel went into one output, by one tap; gathered by all 49
taps, 48 of them take zeros from around that output. A pixel's own phase has just the taps that
reach an output. Weights are packed once for each pixel that they are for, though, so that with many
outputs there would be many times as many.
"""

from __future__ import annotations

import itertools

from kernels.backends.numba.axes import Gather, backward_gather, backward_gather_by_pixel
from kernels.geometry import Axis, ConvGeometry

LEAST_GAIN = 2
"""How many times less work there has to be: tiles have only pixels of different images."""

MOST_PIXELS = 32
"""Of an axis: each has tables of its own."""

PACKING = 16
"""Multiply-adds in the time that it takes to pack a weight."""


def backward_gathers(geometry: ConvGeometry) -> tuple[Gather, Gather]:
    """Return rows and columns, by pixel or not, whichever is the least work."""
    height, width = geometry.height, geometry.width
    usual = backward_gather(height), backward_gather(width)
    choices = itertools.product(_choices(height), _choices(width))
    best = min(choices, key=lambda pair: _work(geometry.batch, *pair))
    return (
        best
        if LEAST_GAIN * _work(geometry.batch, *best) <= _work(geometry.batch, *usual)
        else usual
    )


def _choices(axis: Axis) -> list[Gather]:
    usual = backward_gather(axis)
    return [usual, backward_gather_by_pixel(axis)] if axis.size <= MOST_PIXELS else [usual]


def _work(images: int, rows: Gather, columns: Gather) -> int:
    """Return the multiply-adds for one source and one target channel, packing included."""
    (row_terms, row_taps), (column_terms, column_taps) = _terms(rows), _terms(columns)
    return images * row_terms * column_terms + PACKING * row_taps * column_taps


def _terms(axis: Gather) -> tuple[int, int]:
    """Return the terms of all pixels' sums, and the taps of all phases."""
    taps = [len(phase.taps) for phase in axis.phases]
    terms = [axis.count(p, axis.target_size) * n for p, n in zip(axis.phases, taps, strict=True)]
    return sum(terms), sum(taps)
