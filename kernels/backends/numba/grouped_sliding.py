"""The inner loop of few channels a group whose windows slide along a row.

As in ``depthwise_sliding``, for a vector of groups at a time: a source pixel's channels are dealt
out once for each row of a window. Weights do not fit the registers, and are factors from memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.calls import tap_at
from kernels.backends.numba.dealing import make_load, make_store
from kernels.backends.numba.depthwise_sliding import ROWS, WIDTH
from kernels.backends.numba.jit import unrolled
from kernels.backends.numba.vector import (
    lanes,
    load,
    multiply_add,
    pointer,
    prefetch,
    repeat,
    replaced,
    zeros,
)


def make_slide(ins: int, outs: int, *, whole: bool) -> Callable[..., Any]:
    """Make the loop over a row of target pixels, for whole vectors of groups or for the last one.

    The arguments are those of ``depthwise_sliding``, but that groups are counted, not channels, and
    that ``nothing`` is as many zeros as there are weights, too.
    """
    sums, behind = WIDTH * outs, WIDTH - 1
    load_groups, store_groups = make_load(ins, whole=whole), make_store(outs, whole=whole)
    store_end = make_store(outs, whole=False)

    @unrolled
    def slide(
        target, to, source, at, weights, terms, start, nothing,
        G, taps, begin, end, targets, below, g_begin, g_end,
    ):  # fmt: skip
        width, C = lanes(source), G * ins
        first, last = tap_at(taps, begin).begin, tap_at(taps, begin + behind).end + behind
        for g in range(g_begin, g_end, width):
            valid = min(G - g, width)
            rows, steps, by = repeat(nothing, ROWS), repeat(C - C, ROWS), repeat(nothing, ROWS)
            for r in range(ROWS):
                tap = begin + r * WIDTH
                if tap < end:
                    place = at + tap_at(taps, tap).offset + first * C + g * ins
                    rows, steps = replaced(rows, r, pointer(source, place)), replaced(steps, r, C)
                    place = g * outs * terms + tap * ins * width
                    by = replaced(by, r, pointer(weights, place))
            # Of the next target pixel whose window ends, and of those after it.
            total, base = repeat(zeros(source), sums), repeat(zeros(source), outs)
            for o in range(outs):
                base = replaced(base, o, load(start, g * outs + o * width))
                for k in range(WIDTH):
                    total = replaced(total, k * outs + o, base[o])
            ahead = pointer(source, below + first * C + g * ins)
            for column in range(first, last):
                for r in range(ROWS):
                    x, factors = load_groups(rows[r], 0, valid), by[r]
                    for o in range(outs):
                        for i in range(ins):
                            for k in range(WIDTH):
                                place = (o * terms + (behind - k) * ins + i) * width
                                n, factor = k * outs + o, load(factors, place)
                                total = replaced(total, n, multiply_add(x[i], factor, total[n]))
                    rows = replaced(rows, r, pointer(rows[r], steps[r]))
                for i in range(ins):
                    prefetch(ahead, i * width)
                # The first pixel is written before its window ends, and again then: no branch.
                place = to + (max(0, column - behind) * G + g) * outs
                store_groups(target, place, total, 0, valid)
                for o in range(outs):
                    for k in range(behind):
                        total = replaced(total, k * outs + o, total[(k + 1) * outs + o])
                    total = replaced(total, behind * outs + o, base[o])
                ahead = pointer(ahead, C)
            for k in range(behind):
                if last - behind + k < targets:
                    place = to + ((last - behind + k) * G + g) * outs
                    store_end(target, place, total, k * outs, valid)

    return slide
