"""The inner loop of few channels a group whose windows do not slide: tiles of target pixels.

As in ``depthwise_kernel``, for a vector of groups at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.calls import tap_at
from kernels.backends.numba.dealing import make_load, make_store
from kernels.backends.numba.jit import unrolled
from kernels.backends.numba.vector import lanes, load, multiply_add, repeat, replaced, zeros


def make_tiles(ins: int, outs: int, pixels: int, *, whole: bool) -> Callable[..., Any]:
    """Make the loop over a row's target pixels from ``first`` to ``last``, ``pixels`` at a time.

    These have all taps in the image, or are one.
    """
    sums = pixels * outs
    load_groups, store_groups = make_load(ins, whole=whole), make_store(outs, whole=whole)

    @unrolled
    def tiles(
        target, to, to_step, source, at, at_step, weights, terms, start,
        G, taps, begin, end, first, last, g_begin, g_end,
    ):  # fmt: skip
        width = lanes(source)
        for column in range(first, last, pixels):
            j = min(column, last - pixels)  # the last tile does some pixels again
            for g in range(g_begin, g_end, width):
                valid, total = min(G - g, width), repeat(zeros(source), sums)
                for o in range(outs):
                    for p in range(pixels):
                        total = replaced(total, p * outs + o, load(start, g * outs + o * width))
                for t in range(begin, end):
                    tap = tap_at(taps, t)
                    if tap.begin <= j < tap.end:
                        place = at + j * at_step + tap.offset + g * ins
                        by = g * outs * terms + t * ins * width
                        for p in range(pixels):
                            x = load_groups(source, place + p * at_step, valid)
                            for o in range(outs):
                                for i in range(ins):
                                    n = p * outs + o
                                    factor = load(weights, by + (o * terms + i) * width)
                                    total = replaced(total, n, multiply_add(x[i], factor, total[n]))
                for p in range(pixels):
                    store_groups(target, to + (j + p) * to_step + g * outs, total, p * outs, valid)

    return tiles
