"""The inner loop of few channels a group through a single tap: bytes decide, and their order.

Pixels follow one another, as many vectors of groups side by side as there are registers for their
weights. In tiles (``depthwise_kernel``, ``grouped_tiles``) each vector is of another pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.calls import tap_at
from kernels.backends.numba.dealing import make_load, make_store
from kernels.backends.numba.jit import serial, unrolled
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

VECTORS = 4
"""Of channels of a pixel that are done at a time."""


def one_tap_row(ins: int, outs: int) -> Callable[..., Any]:
    """Make the loop over a row's target pixels from ``first`` to ``last``, which have the tap.

    The arguments are those of ``grouped_tiles``, and the row ``below``, which is fetched unless it
    is 0.
    """
    vectors = max(1, VECTORS // max(ins, outs))
    several, single = (_make_row(ins, outs, n, whole=True) for n in (vectors, 1))
    rest = _make_row(ins, outs, 1, whole=False)

    @serial
    def row(
        target, to, to_step, source, at, at_step, weights, terms, start,
        G, taps, tap, first, last, below,
    ):  # fmt: skip
        width = lanes(source)
        arrays = (target, to, to_step, source, at, at_step, weights, terms, start)
        row_of = (G, taps, tap, first, last, below)
        several(*arrays, *row_of, 0, G - G % (vectors * width))
        single(*arrays, *row_of, G - G % (vectors * width), G - G % width)
        rest(*arrays, *row_of, G - G % width, G)

    return row


def _make_row(ins: int, outs: int, vectors: int, *, whole: bool) -> Callable[..., Any]:
    """Make the same for groups from ``g_begin`` to ``g_end``, some vectors of them at a time."""
    factors, sums = vectors * ins * outs, vectors * outs
    load_groups, store_groups = make_load(ins, whole=whole), make_store(outs, whole=whole)

    @unrolled
    def one_tap(
        target, to, to_step, source, at, at_step, weights, terms, start,
        G, taps, tap, first, last, below, g_begin, g_end,
    ):  # fmt: skip
        width = lanes(source)
        for g in range(g_begin, g_end, vectors * width):
            valid = min(G - g, width)
            by, base = repeat(zeros(source), factors), repeat(zeros(source), sums)
            for v in range(vectors):
                for o in range(outs):
                    place = (g + v * width) * outs + o * width
                    base = replaced(base, v * outs + o, load(start, place))
                    for i in range(ins):
                        n, k = (v * outs + o) * ins + i, place * terms + (tap * ins + i) * width
                        by = replaced(by, n, load(weights, k))
            row = pointer(source, at + first * at_step + tap_at(taps, tap).offset + g * ins)
            out = pointer(target, to + first * to_step + g * outs)
            ahead = pointer(source, below + g * ins)
            for _ in range(first, last):
                total = base
                for v in range(vectors):
                    x = load_groups(row, v * ins * width, valid)
                    for o in range(outs):
                        for i in range(ins):
                            n = v * outs + o
                            total = replaced(
                                total, n, multiply_add(x[i], by[n * ins + i], total[n])
                            )
                    if below > 0:
                        for i in range(ins):
                            prefetch(ahead, (v * ins + i) * width)
                    store_groups(out, v * outs * width, total, v * outs, valid)
                row, out = pointer(row, at_step), pointer(out, to_step)
                ahead = pointer(ahead, at_step)

    return one_tap
