"""Weights in the order in which the micro-kernel reads them, and their gradients back.

A panel is a few vectors of target channels; its rows follow one another in memory, padded with
zeros.
"""

from __future__ import annotations

import numba

from kernels.backends.numba.blocks import clear
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.vector import (
    add,
    constant,
    lanes,
    load,
    multiply,
    multiply_add,
    store,
    subtract,
)

PACK_CHANNELS = 16
"""Source channels that are packed at a time."""


@parallel
def pack(weight, plain, packed, taps, step_source, step_target, shape):
    """Fill ``plain`` with [group][panel][term][panel's channels], ``packed`` with Winograd's points.

    Parameters
    ----------
    weight : flat array
        (O, C / groups, KH · KW).
    plain : array
        A phase's terms are its taps times the source channels of a group.
    packed : array
        [point][panel][source channel][panel's channels]: G g Gᵀ; empty for the direct algorithm.
    taps : array
        Numbers of the window's taps, phase after phase.
    step_source, step_target : int
        Distance in ``weight`` from one source or target channel to the next.
    """
    for index in numba.prange(shape[0].groups * shape[0].panels):
        _pack_panel(weight, plain, taps, step_source, step_target, index, shape[0])
        if len(packed) > 0:
            _transform_panel(plain, packed, index, shape[0])


@serial
def _pack_panel(weight, plain, taps, step_source, step_target, index, s):
    """Turn one panel round, some source channels at a time: what is written stays in L1."""
    group, panel = index // s.panels, index % s.panels
    v = panel * s.panel
    valid = min(s.panel, s.out_group - v)
    source = group * (len(weight) // s.groups) + v * step_target
    place = index * s.terms * s.panel
    clear(plain, place, s.terms * s.panel)
    for block in range(0, s.in_group, PACK_CHANNELS):
        for i in range(valid):
            for c in range(block, min(block + PACK_CHANNELS, s.in_group)):
                at = source + i * step_target + c * step_source
                to = place + c * s.panel + i
                for tap in taps:
                    plain[to] = weight[at + tap]
                    to += s.in_group * s.panel


@parallel
def unpack(partials, parts, grad, work, shape):
    """Add up the partial weight gradients, in their order, and write them as (O, C / groups, taps).

    Parameters
    ----------
    partials : array
        [part][group][tap · channel][row], or [part][point][channel][row] of Winograd's.
    work : array
        18 vectors' room for each block of source channels.
    """
    s = shape[0]
    for block in numba.prange(s.groups * -(-s.in_group // PACK_CHANNELS)):
        _unpack_block(partials, parts, grad, work, block, shape[0])


@serial
def _unpack_block(partials, parts, grad, work, block, s):
    """Unpack some source channels: what is written for a vector of target channels stays in L1."""
    size, blocks = len(partials) // parts, -(-s.in_group // PACK_CHANNELS)
    group, first = block // blocks, block % blocks * PACK_CHANNELS
    inner = block * 18 * lanes(work)
    for v in range(0, s.out_group, lanes(partials)):
        for c in range(first, min(first + PACK_CHANNELS, s.in_group)):
            if s.winograd:
                _unpack_points(partials, parts, size, grad, work, inner, c, v, s)
            else:
                _unpack_taps(partials, parts, size, grad, work, inner, group, c, v, s)


@serial
def _sum(partials, parts, size, place):
    total = load(partials, place)
    for part in range(1, parts):
        total = add(total, load(partials, part * size + place))
    return total


@serial
def _unpack_taps(partials, parts, size, grad, work, inner, group, c, v, s):
    taps = s.terms // s.in_group
    for tap in range(taps):
        term = (group * taps + tap) * s.in_group + c
        store(work, inner, _sum(partials, parts, size, term * s.row + v))
        to = ((group * s.out_group + v) * s.in_group + c) * taps + tap
        for o in range(min(lanes(work), s.out_group - v)):
            grad[to + o * s.in_group * taps] = work[inner + o]


@serial
def _unpack_points(partials, parts, size, grad, work, inner, c, v, s):
    """Sum Winograd's points and transform them back: Gᵀ m G."""
    width = lanes(work)
    step = s.in_group * s.row
    for j in range(6):
        at = c * s.row + v + j * step
        column = _gt(
            _sum(partials, parts, size, at),
            _sum(partials, parts, size, at + 6 * step),
            _sum(partials, parts, size, at + 12 * step),
            _sum(partials, parts, size, at + 18 * step),
            _sum(partials, parts, size, at + 24 * step),
            _sum(partials, parts, size, at + 30 * step),
        )
        store(work, inner + j * width, column[0])
        store(work, inner + (6 + j) * width, column[1])
        store(work, inner + (12 + j) * width, column[2])
    for p in range(3):
        at = inner + 6 * p * width
        taps = _gt(
            load(work, at),
            load(work, at + width),
            load(work, at + 2 * width),
            load(work, at + 3 * width),
            load(work, at + 4 * width),
            load(work, at + 5 * width),
        )
        store(work, at, taps[0])
        store(work, at + width, taps[1])
        store(work, at + 2 * width, taps[2])
        to = (v * s.in_group + c) * 9 + 3 * p
        for o in range(min(width, s.out_group - v)):
            for q in range(3):
                grad[to + o * s.in_group * 9 + q] = work[at + q * width + o]


@serial
def _g(g0, g1, g2):
    """G g, of a filter's column or row."""
    near, far = constant(g0, -1 / 6), constant(g0, 1 / 24)
    two, four = constant(g0, 2), constant(g0, 4)
    outer, wide = add(g0, g2), multiply_add(four, g2, g0)
    return (
        multiply(constant(g0, 1 / 4), g0),
        multiply(near, add(outer, g1)),
        multiply(near, subtract(outer, g1)),
        multiply(far, multiply_add(two, g1, wide)),
        multiply(far, subtract(wide, multiply(two, g1))),
        g2,
    )


@serial
def _gt(m0, m1, m2, m3, m4, m5):
    """Gᵀ m, of a column or row of points."""
    near, far = constant(m0, -1 / 6), constant(m0, 1 / 24)
    two, four = constant(m0, 2), constant(m0, 4)
    quarter = constant(m0, 1 / 4)
    sum_1, sum_2 = multiply(near, add(m1, m2)), multiply(far, add(m3, m4))
    difference_1, difference_2 = multiply(near, subtract(m1, m2)), multiply(far, subtract(m3, m4))
    return (
        multiply_add(quarter, m0, add(sum_1, sum_2)),
        multiply_add(two, difference_2, difference_1),
        add(m5, multiply_add(four, sum_2, sum_1)),
    )


@serial
def _transform_panel(plain, packed, index, s):
    row = s.in_group * s.panel
    for i in range(0, row, lanes(plain)):
        _transform_filter(plain, index * 9 * row + i, row, packed, index * row + i, s.panels * row)


@serial
def _transform_filter(direct, place, tap, packed, to, point):
    column_0 = _filter_column(direct, place, tap)
    column_1 = _filter_column(direct, place + tap, tap)
    column_2 = _filter_column(direct, place + 2 * tap, tap)
    for i in range(6):
        points = _g(column_0[i], column_1[i], column_2[i])
        for j in range(6):
            store(packed, to + (6 * i + j) * point, points[j])


@serial
def _filter_column(direct, place, tap):
    return _g(
        load(direct, place),
        load(direct, place + 3 * tap),
        load(direct, place + 6 * tap),
    )
