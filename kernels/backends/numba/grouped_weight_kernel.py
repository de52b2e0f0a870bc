"""The inner loops of the weight gradient of few channels a group: sums over pixels, in registers.

As in ``depthwise_weight_kernel``, for a vector of groups at a time, whose channels are dealt out as
they are loaded. Three taps are summed at once, those of a row where windows slide, or a single one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.dealing import make_load
from kernels.backends.numba.depthwise_sliding import WIDTH
from kernels.backends.numba.depthwise_weight_kernel import LEFT, NUMBER, OFFSET, RIGHT, TAP
from kernels.backends.numba.jit import inlined, unrolled
from kernels.backends.numba.vector import (
    add,
    lanes,
    load,
    multiply_add,
    pointer,
    repeat,
    replaced,
    store,
    zeros,
)


def make_sums(ins: int, outs: int, taps: int, *, whole: bool) -> Callable[..., Any]:
    """Make what adds up the products of some taps over rows of a rectangle."""
    count = taps * ins * outs
    load_source, load_grad = make_load(ins, whole=whole), make_load(outs, whole=whole)
    add_sums = _make_add(ins, outs, taps)

    @unrolled
    def add_products(
        sums, source, place, grad, pixel, s, table, rectangle, tap, rows, g, valid, nothing,
    ):  # fmt: skip
        C, T, step = s.source_channels, s.target_channels, s.column_step * s.source_channels
        total, offsets = repeat(zeros(source), count), repeat(g, taps)
        for k in range(taps):
            offsets = replaced(offsets, k, place + g * ins + table[tap + k * TAP + OFFSET])
        for row in range(rows):
            at = row * s.row_step * s.source_columns * C
            to = pixel + row * s.target_columns * T + g * outs
            for j in range(table[rectangle + LEFT], table[rectangle + RIGHT]):
                factors = load_grad(grad, to + j * T, valid)
                for k in range(taps):
                    x = load_source(source, at + offsets[k] + j * step, valid)
                    for o in range(outs):
                        for i in range(ins):
                            n = (k * outs + o) * ins + i
                            total = replaced(total, n, multiply_add(x[i], factors[o], total[n]))
        add_sums(sums, s, table, tap, g, total)

    return add_products


def make_sliding(ins: int, outs: int, *, whole: bool) -> Callable[..., Any]:
    """Make the same for windows that slide along a row, for the taps of a row.

    A source pixel meets the gradients of three columns; beyond the ends of their row there are
    zeros, ``nothing``. A rectangle's columns are the source's, as in ``depthwise_weight_kernel``.
    """
    count, window = WIDTH * ins * outs, WIDTH * outs
    load_source, load_grad = make_load(ins, whole=whole), make_load(outs, whole=whole)
    add_sums = _make_add(ins, outs, WIDTH)

    @unrolled
    def slide_products(
        sums, source, place, grad, pixel, s, table, rectangle, tap, rows, g, valid, nothing,
    ):  # fmt: skip
        C, T = s.source_channels, s.target_channels
        first, last = table[rectangle + LEFT], table[rectangle + RIGHT]
        total = repeat(zeros(source), count)
        for row in range(rows):
            at = place + (row * s.row_step * s.source_columns + first) * C + g * ins
            at += table[tap + OFFSET]
            grads = pointer(grad, pixel + row * s.target_columns * T + g * outs)
            factors = repeat(zeros(source), window)
            for k in range(WIDTH - 1):
                if k < first:
                    before = load_grad(grads, (first - 1 - k) * T, valid)
                    for o in range(outs):
                        factors = replaced(factors, k * outs + o, before[o])
            for column in range(first, last):
                following = pointer(grads, column * T) if column < s.target_columns else nothing
                newest = load_grad(following, 0, valid)
                for o in range(outs):
                    for k in range(WIDTH - 1, 0, -1):
                        factors = replaced(factors, k * outs + o, factors[(k - 1) * outs + o])
                    factors = replaced(factors, o, newest[o])
                x = load_source(source, at, valid)
                for k in range(WIDTH):
                    for o in range(outs):
                        for i in range(ins):
                            n, factor = (k * outs + o) * ins + i, factors[k * outs + o]
                            total = replaced(total, n, multiply_add(x[i], factor, total[n]))
                at += C
        add_sums(sums, s, table, tap, g, total)

    return slide_products


def _make_add(ins: int, outs: int, taps: int) -> Callable[..., Any]:
    """Make what adds some taps' sums to those in memory."""

    @inlined
    def add_sums(sums, s, table, tap, g, total):
        width = lanes(sums)
        for k in range(taps):
            number = table[tap + k * TAP + NUMBER]
            if number >= 0:
                for o in range(outs):
                    for i in range(ins):
                        to = (g * outs + o * width) * s.terms + (number * ins + i) * width
                        n = (k * outs + o) * ins + i
                        store(sums, to, add(load(sums, to), total[n]))

    return add_sums
