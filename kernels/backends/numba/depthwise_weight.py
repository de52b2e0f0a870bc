"""The weight gradient of depthwise convolutions: sums over the pixels of rows, in registers.

A row of gradients meets one source row for each row of the window. Along both, a few taps of a few
vectors of channels are summed at a time, and added to sums in memory at its end; nothing is copied.
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
    shape_at,
    tap_at,
)
from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.jit import serial
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    add,
    at_address,
    lanes,
    load,
    load_first,
    multiply_add,
    pointer,
    repeat,
    replaced,
    store,
    zeros,
)

TAPS, VECTORS = 3, 4
"""Whose sums are in registers at once: of the window rows that are most common, and few of others,
the taps are done one by one."""


def accumulate_depthwise(work, call, part):
    """Sum the weight gradient over a part of the tasks, bands of rows."""
    s = shape_at(call[SHAPES], 0)
    sums = pointer(at_address(work, call[PARTIALS]), part * call[PARTIALS_SIZE])
    clear(sums, 0, call[PARTIALS_SIZE])
    tasks = s.images * s.bands
    for task in range(part * tasks // call[PARTS], (part + 1) * tasks // call[PARTS]):
        image, first = task // s.bands, task % s.bands * s.band_rows
        last = min(first + s.band_rows, s.target_rows)
        for row in range(first, last):
            _accumulate_row(sums, work, call, s, image, row)
        if call[SLOTTED] > 0:
            C, pixels = s.target_channels, (last - first) * s.target_columns
            begin = (image * s.target_rows + first) * s.target_columns * C
            grad, slots = at_address(work, call[LOAD + X]), doubles_at(call[SLOTS], 0)
            sum_pixels(grad, begin, pixels, C, C, slots, part * C, work, 0)


@serial
def _accumulate_row(sums, work, call, s, image, row):
    """Add what a row of gradients gives, some vectors of channels after the other."""
    C, width, taps = s.source_channels, lanes(work), call[SEGMENTS]
    source, grad = at_address(work, call[X]), at_address(work, call[LOAD + X])
    at = (image * s.source_rows + row * s.row_step) * s.source_columns * C
    g = (image * s.target_rows + row) * s.target_columns * C
    whole = C - C % (VECTORS * width)
    begin, end = 0, s.terms
    while begin < end and not 0 <= row * s.row_step + tap_at(taps, begin).row < s.source_rows:
        begin += 1
    while begin < end and not 0 <= row * s.row_step + tap_at(taps, end - 1).row < s.source_rows:
        end -= 1
    rows = (sums, s.terms, source, at, s.column_step * C, grad, g, C, taps)
    for c in range(0, whole, VECTORS * width):
        t = begin
        while t < end:
            if t + TAPS <= end and tap_at(taps, t + TAPS - 1).row == tap_at(taps, t).row:
                _add_taps(*rows, t, c, width)
                t += TAPS
            else:
                _add_tap(*rows, t, c, width)
                t += 1
    for c in range(whole, C, width):
        t, valid = begin, min(width, C - c)
        while t < end:
            if t + TAPS <= end and tap_at(taps, t + TAPS - 1).row == tap_at(taps, t).row:
                _add_taps_edge(*rows, t, c, valid)
                t += TAPS
            else:
                _add_tap_edge(*rows, t, c, valid)
                t += 1


def _make_sums(count: int, vectors: int) -> Callable[..., Any]:
    """Make the sum of ``count`` taps of one row of the window over a row of pixels."""
    number = count * vectors

    @serial
    def sum_row(sums, terms, source, at, at_step, grad, g, C, taps, t, c, valid):
        width = lanes(source)
        total = repeat(zeros(source), number)
        offsets = repeat(at, count)
        first, last = tap_at(taps, t).begin, tap_at(taps, t).end
        for k in range(count):
            tap = tap_at(taps, t + k)
            offsets = replaced(offsets, k, at + tap.offset + c)
            first, last = max(first, tap.begin), min(last, tap.end)
        last = max(first, last)
        for j in range(first, last):
            for v in range(vectors):
                factor = load_first(grad, g + j * C + c + v * width, valid)
                for k in range(count):
                    value = load_first(source, offsets[k] + j * at_step + v * width, valid)
                    i = k * vectors + v
                    total = replaced(total, i, multiply_add(factor, value, total[i]))
        if count > 1:
            for k in range(count):
                tap = tap_at(taps, t + k)
                for n in range(tap.end - tap.begin - (last - first)):
                    j = tap.begin + n
                    if j >= first:
                        j += last - first
                    for v in range(vectors):
                        factor = load_first(grad, g + j * C + c + v * width, valid)
                        value = load_first(source, offsets[k] + j * at_step + v * width, valid)
                        i = k * vectors + v
                        total = replaced(total, i, multiply_add(factor, value, total[i]))
        for k in range(count):
            for v in range(vectors):
                place = (c + v * width) * terms + (t + k) * width
                store(sums, place, add(load(sums, place), total[k * vectors + v]))

    return sum_row


_add_taps, _add_tap = _make_sums(TAPS, VECTORS), _make_sums(1, VECTORS)
_add_taps_edge, _add_tap_edge = _make_sums(TAPS, 1), _make_sums(1, 1)

ACCUMULATE_DEPTHWISE = Task(accumulate_depthwise)
