"""The inner loops of depthwise convolutions by narrow windows with stride 2 or 3.

As in ``depthwise_sliding`` sums and weights stay in registers along a row. Forward, windows 3 wide
with stride 2 overlap by one column: each step reads two source columns, of which the second one
belongs to the next window as well. Backward to the input, each step reads one source column, of the
output's gradient, and completes as many target columns as the stride has. In tiles
(``depthwise_kernel``) each tap loads its pixel anew, and backward every second or third target
column is written at a time.

On 2 threads of Zen 5, of the time with tiles, forward and backward: 32 images of 64×28×28 0.70 and
0.65, of 48×56×56 0.70 and 0.60, 8 of 96×112×112 0.79 and 0.94, of 512×14×14 1.00 and 0.81.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.calls import tap_at
from kernels.backends.numba.depthwise_sliding import ROWS, WIDTH
from kernels.backends.numba.jit import unrolled
from kernels.backends.numba.vector import (
    lanes,
    load,
    load_first,
    multiply_add,
    pointer,
    prefetch,
    repeat,
    replaced,
    store,
    store_first,
    zeros,
)

STEP = 2
"""Columns from one window to the next, forward."""

STEPS = (2, 3)
"""The same, backward."""

FEW_ROWS = 2
"""Rows of a window that a target row takes at most, backward."""


def _make_access(*, whole: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make what reads and what writes a vector, or its first ``valid`` lanes."""

    @unrolled
    def read(row, place, valid):
        return load(row, place) if whole else load_first(row, place, valid)

    @unrolled
    def write(target, place, vector, valid):
        if whole:
            store(target, place, vector)
        else:
            store_first(target, place, vector, valid)

    return read, write


def _make_begin(rows: int, columns: int, vectors: int) -> Callable[..., Any]:
    """Make what finds a window's rows from its ``first`` column on, its weights and first sums.

    Window rows that there are not read ``nothing``, zeros, with zeros for weights.
    """
    factors = rows * columns * vectors

    @unrolled
    def begin_row(source, at, weights, terms, start, nothing, C, taps, begin, end, first, c):
        width = lanes(source)
        sources, steps = repeat(nothing, rows), repeat(C - C, rows)
        by, base = repeat(zeros(source), factors), repeat(zeros(source), vectors)
        for v in range(vectors):
            base = replaced(base, v, load(start, c + v * width))
        for r in range(rows):
            tap = begin + r * columns
            if tap < end:
                place = at + tap_at(taps, tap + first).offset + c
                sources = replaced(sources, r, pointer(source, place))
                steps = replaced(steps, r, C)
                for k in range(columns):
                    for v in range(vectors):
                        place = (c + v * width) * terms + (tap + k) * width
                        by = replaced(by, (r * columns + k) * vectors + v, load(weights, place))
        return sources, steps, by, base

    return begin_row


def _make_add(vectors: int, column: int, *, whole: bool) -> Callable[..., Any]:
    """Make what adds the products of a window's column to sums, from some columns on."""
    read, _ = _make_access(whole=whole)

    @unrolled
    def add(total, sources, steps, by, columns, valid):
        for r in range(ROWS):
            row = pointer(sources[r], columns * steps[r])
            for v in range(vectors):
                factor = by[(r * WIDTH + column) * vectors + v]
                value = read(row, v * lanes(row), valid)
                total = replaced(total, v, multiply_add(value, factor, total[v]))
        return total

    return add


@unrolled
def _moved(sources, steps, columns):
    """Return the rows some columns further on."""
    for r in range(ROWS):
        sources = replaced(sources, r, pointer(sources[r], columns * steps[r]))
    return sources


def make_gathering(vectors: int, *, whole: bool) -> Callable[..., Any]:
    """Make the loop over a row of target pixels, forward.

    The arguments are those of ``depthwise_sliding``, and how many ``columns`` the source has, how
    many are ``left`` of it in the first window, 0 or 1, and where the row ``down`` from the one
    ``below`` is. These are fetched, if there are.
    """
    begin_row = _make_begin(ROWS, WIDTH, vectors)
    add_first, add_second, add_third = (_make_add(vectors, k, whole=whole) for k in range(WIDTH))
    _, write = _make_access(whole=whole)

    @unrolled
    def gather(
        target, to, source, at, weights, terms, start, nothing,
        C, taps, begin, end, columns, targets, left, below, down, c_begin, c_end,
    ):  # fmt: skip
        width = lanes(source)
        for c in range(c_begin, c_end, vectors * width):
            valid = min(C - c, width)
            sources, steps, by, base = begin_row(
                source, at, weights, terms, start, nothing, C, taps, begin, end, left, c
            )
            begun = base  # of the next window, to which the last column belongs as well
            if left == 0:
                begun = add_first(begun, sources, steps, by, 0, valid)
                sources = _moved(sources, steps, 1)
            ahead, place = pointer(source, below + c), to + c
            whole_windows = min(targets, (columns - 1 + left) // STEP)
            for _ in range(whole_windows):
                total = add_second(begun, sources, steps, by, 0, valid)
                total = add_third(total, sources, steps, by, 1, valid)
                begun = add_first(base, sources, steps, by, 1, valid)
                sources = _moved(sources, steps, STEP)
                for v in range(vectors):
                    for k in range(STEP):
                        if below > 0:
                            prefetch(ahead, k * C + v * width)
                            prefetch(ahead, down + k * C + v * width)
                    write(target, place + v * width, total[v], valid)
                ahead, place = pointer(ahead, STEP * C), place + C
            if whole_windows < targets:  # the last one lacks its last column
                total = add_second(begun, sources, steps, by, 0, valid)
                for v in range(vectors):
                    write(target, place + v * width, total[v], valid)

    return gather


def make_scattering(
    rows: int, columns: int, step: int, vectors: int, *, whole: bool
) -> Callable[..., Any]:
    """Make the loop over a row of source pixels, backward to the input.

    ``rows`` of a window at most are of this target row; ``columns`` and ``step`` are a window's.
    Source column j goes to target columns from ``step · j - left`` on. Arguments as above.
    """
    begin_row = _make_begin(rows, columns, vectors)
    read, write = _make_access(whole=whole)
    span = max(columns, step)
    sums = span * vectors

    @unrolled
    def scatter(
        target, to, source, at, weights, terms, start, nothing,
        C, taps, begin, end, pixels, targets, left, below, c_begin, c_end,
    ):  # fmt: skip
        width = lanes(source)
        for c in range(c_begin, c_end, vectors * width):
            valid = min(C - c, width)
            sources, steps, by, base = begin_row(
                source, at, weights, terms, start, nothing, C, taps, begin, end, 0, c
            )
            # Of the next target columns, from the first one on that is not complete.
            total = repeat(zeros(source), sums)
            for k in range(span):
                for v in range(vectors):
                    total = replaced(total, k * vectors + v, base[v])
            ahead = pointer(source, below + c)
            for column in range(-left, step * pixels - left, step):
                for r in range(rows):
                    for v in range(vectors):
                        value = read(sources[r], v * width, valid)
                        for k in range(columns):
                            n, factor = k * vectors + v, by[(r * columns + k) * vectors + v]
                            total = replaced(total, n, multiply_add(value, factor, total[n]))
                    sources = replaced(sources, r, pointer(sources[r], steps[r]))
                for k in range(step):
                    if 0 <= column + k < targets:
                        for v in range(vectors):
                            place = to + (column + k) * C + c + v * width
                            write(target, place, total[k * vectors + v], valid)
                for v in range(vectors):
                    prefetch(ahead, v * width)
                    for k in range(span):
                        kept = total[(k + step) * vectors + v] if k + step < columns else base[v]
                        total = replaced(total, k * vectors + v, kept)
                ahead = pointer(ahead, C)
            last = step * pixels - left
            for k in range(span):
                if 0 <= last + k < targets:
                    for v in range(vectors):
                        place = to + (last + k) * C + c + v * width
                        write(target, place, total[k * vectors + v], valid)
            for j in range(last + span, targets):
                for v in range(vectors):
                    write(target, to + j * C + c + v * width, base[v], valid)

    return scatter
