"""The inner loops of depthwise convolutions by windows 3 wide with stride 1, the usual ones.

A pixel of a source row belongs to the windows of three target pixels next to one another. So the
windows slide along the row with their sums in registers: each source pixel is loaded once for each
row of a window, and multiplied from its register, where a tile of ``depthwise_kernel`` loads it for
each tap. Loads set the pace: NumPy's own arrays begin 16 bytes behind a cache line, so that each
load of 64 bytes takes two lines.

Forward and backward to the input, ms on 2 threads of Zen 4, tiles and now, in turn: 8 images of
512×14×14 0.29 and 0.22, 0.28 and 0.20; of 32×112×112 1.16 and 0.71, 1.03 and 0.68; of 960×7×7 0.20
and 0.13, 0.18 and 0.13; of 72×28×28 0.17 and 0.08, 0.15 and 0.09. (Windows 5 wide gained nothing
so: LLVM moved their 25 weights about in memory.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.calls import tap_at
from kernels.backends.numba.cpu import REGISTER_BYTES
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

WIDTH, ROWS = 3, 3
"""Of a window: so many columns, and no more rows."""

VECTORS = 2 if REGISTER_BYTES == 64 else 1
"""Of channels at a time. For each there are 9 weights, 3 sums, what they start from and a pixel: 28
of AVX-512's 32 registers, 14 of AVX2's 16."""


def _make_slide(vectors: int, *, whole: bool) -> Callable[..., Any]:
    """Make the loop over a row of target pixels, for some vectors of channels after the others.

    They are whole, or else only their last one is not. Columns are the source's, and counted from
    the first one in the first target pixel's window. Window rows that there are not read
    ``nothing``, zeros, with zeros for weights. Each column asks for its pixel of the row ``below``,
    which the next row of targets reads for the first time: without this 32×112×112 took 0.74 ms
    instead of 0.48, and 512×14×14 no less.
    """
    factors, sums, behind = ROWS * WIDTH * vectors, WIDTH * vectors, WIDTH - 1

    @unrolled
    def slide(
        target, to, source, at, weights, terms, start, nothing,
        C, taps, begin, end, targets, below, c_begin, c_end,
    ):  # fmt: skip
        width = lanes(source)
        first, last = tap_at(taps, begin).begin, tap_at(taps, begin + behind).end + behind
        for c in range(c_begin, c_end, vectors * width):
            valid = min(C - c, width)
            rows, steps = repeat(nothing, ROWS), repeat(C - C, ROWS)
            by = repeat(zeros(source), factors)
            for r in range(ROWS):
                tap = begin + r * WIDTH
                if tap < end:
                    place = at + tap_at(taps, tap).offset + first * C + c
                    rows, steps = replaced(rows, r, pointer(source, place)), replaced(steps, r, C)
                    for k in range(WIDTH):
                        for v in range(vectors):
                            place = (c + v * width) * terms + (tap + k) * width
                            by = replaced(by, (r * WIDTH + k) * vectors + v, load(weights, place))
            # Of the next target pixel whose window ends, and of those after it.
            total, base = repeat(zeros(source), sums), repeat(zeros(source), vectors)
            for v in range(vectors):
                base = replaced(base, v, load(start, c + v * width))
                for k in range(WIDTH):
                    total = replaced(total, k * vectors + v, base[v])
            ahead = pointer(source, below + first * C + c)
            for column in range(first, last):
                for r in range(ROWS):
                    row = rows[r]
                    for v in range(vectors):
                        value = load(row, v * width) if whole else load_first(row, 0, valid)
                        for k in range(WIDTH):
                            n, factor = k * vectors + v, by[(r * WIDTH + behind - k) * vectors + v]
                            total = replaced(total, n, multiply_add(value, factor, total[n]))
                    rows = replaced(rows, r, pointer(row, steps[r]))
                # The first pixel is written before its window ends, and again then: no branch.
                place = to + max(0, column - behind) * C + c
                for v in range(vectors):
                    prefetch(ahead, v * width)
                    if whole:
                        store(target, place + v * width, total[v])
                    else:
                        store_first(target, place, total[v], valid)
                    for k in range(behind):
                        total = replaced(total, k * vectors + v, total[(k + 1) * vectors + v])
                    total = replaced(total, behind * vectors + v, base[v])
                ahead = pointer(ahead, C)
            for k in range(behind):
                if last - behind + k < targets:
                    place = to + (last - behind + k) * C + c
                    for v in range(vectors):
                        store_first(target, place + v * width, total[k * vectors + v], valid)

    return slide


slide, slide_rest = _make_slide(VECTORS, whole=True), _make_slide(1, whole=False)
