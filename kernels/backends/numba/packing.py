"""Weights in the order in which the micro-kernel reads them, and their gradients back.

A panel is a few vectors of target channels; its rows follow one another in memory, padded with
zeros.
"""

from __future__ import annotations

from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import (
    BIAS,
    BIASES,
    FILTERS,
    FILTERS_SIZE,
    GRAD_FILTERS,
    PACKED,
    PARTIALS,
    PARTIALS_SIZE,
    PARTS,
    POINTS,
    SHAPES,
    START,
    STEP_SOURCE,
    STEP_TARGET,
    TAP_COUNT,
    TAPS,
    integers_at,
    shape_at,
)
from kernels.backends.numba.jit import serial
from kernels.backends.numba.keeping import is_packed
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    add,
    at_address,
    constant,
    lanes,
    load,
    load_rows,
    multiply,
    multiply_add,
    store,
    store_each,
    subtract,
    turn_square,
)

PACK_CHANNELS, PACK_LANES = 16, 8
"""Source and target channels that are packed at a time: more lanes, some KiB apart, would drive one
another out of the L1 cache."""


def pack_panel(work, call, index):
    """Pack a panel for the direct algorithm, and from that for Winograd's; likewise its biases.

    Direct weights are [group][panel][term][panel's channels], a phase's terms its taps times the
    source channels of a group; Winograd's are [point][panel][source channel][panel's channels].
    Some channels are turned round at a time: what is read and written stays in L1. A panel has the
    channels of neighbours that share a vector, one after the other.
    """
    s = shape_at(call[SHAPES], 0)
    group, panel = index // s.panels, index % s.panels
    v = panel * s.panel
    valid = min(s.panel, s.out_group - v)
    source = group * call[FILTERS_SIZE] // s.groups + v * call[STEP_TARGET]
    own = valid // s.neighbours
    if not is_packed(work, call, index, source, own * call[STEP_TARGET]):
        plain = at_address(work, call[PACKED])
        _pack_directly(at_address(work, call[FILTERS]), source, own, plain, call, index, s)
        if s.winograd > 0:
            _transform_panel(plain, at_address(work, call[POINTS]), index, s)
    first = group * s.out_group + v
    start = at_address(work, call[START])
    clear(start, first, valid)
    if call[BIASES] > 0:
        bias = at_address(work, call[BIAS])
        for c in range(first, first + valid):
            start[c] = bias[c]


@serial
def _pack_directly(weight, source, own, plain, call, index, s):
    """Pack a panel of ``own`` channels for the direct algorithm."""
    taps, count = integers_at(call[TAPS], 0), call[TAP_COUNT]
    step_source, step_target = call[STEP_SOURCE], call[STEP_TARGET]
    place = index * s.terms * s.panel
    clear(plain, place, s.terms * s.panel)
    for pixel in range(s.neighbours):
        for block in range(0, s.in_group, PACK_CHANNELS):
            channels = min(block + PACK_CHANNELS, s.in_group)
            for lane in range(0, own, PACK_LANES):
                for t in range(count):
                    tap = taps[pixel * count + t]
                    to = place + t * s.in_group * s.panel + pixel * own
                    for i in range(lane, min(lane + PACK_LANES, own) if tap >= 0 else lane):
                        at = source + i * step_target + tap
                        for c in range(block, channels):
                            plain[to + c * s.panel + i] = weight[at + c * step_source]


PACK = Task(pack_panel)


def unpack_block(work, call, block):
    """Add up the partial gradients of some source channels and a vector of target channels.

    They are added in their order, and unpacked. The partials are [part][group][tap · channel][row],
    or [part][point][channel][row] of Winograd's; the result is (O, C / groups, taps). What is
    turned round stays in L1.
    """
    s = shape_at(call[SHAPES], 0)
    parts, size = call[PARTS], call[PARTIALS_SIZE]
    partials, grad = at_address(work, call[PARTIALS]), at_address(work, call[GRAD_FILTERS])
    taps, width = s.terms // s.in_group, lanes(work)
    across, vectors = -(-s.in_group // PACK_CHANNELS), -(-s.out_group // width)
    v, group = block % vectors * width, block // vectors // across
    first = block // vectors % across * PACK_CHANNELS
    channels = min(PACK_CHANNELS, s.in_group - first)
    for c in range(channels):
        at = c * taps * width
        if s.winograd:
            points = taps * PACK_CHANNELS * width
            _sum_points(partials, parts, size, work, points, at, first + c, v, s)
        else:
            _sum_taps(partials, parts, size, work, at, group * s.terms + first + c, v, s)
    to = ((group * s.out_group + v) * s.in_group + first) * taps
    outputs = min(width, s.out_group - v)
    _turn(work, channels * taps, grad, to, outputs, s.in_group * taps)


@serial
def _turn(work, terms, grad, to, outputs, step):
    """Write each output's terms side by side, outputs ``step`` apart: squares, the rest one by one.

    All one by one, 256 channels to 512 in 3×3 of stride 2 took 12.8 ms on one thread, now 11.3; 16
    to 32 of one image of 8×8 22 µs, now 20.
    """
    width = lanes(work)
    whole = terms - terms % width if outputs == width else 0
    for i in range(0, whole, width):
        turn_square(work, i * width, width, grad, to + i, step)
    for o in range(outputs):
        for i in range(whole, terms):
            grad[to + o * step + i] = work[i * width + o]


UNPACK = Task(unpack_block)


@serial
def _sum(partials, parts, size, place):
    total = load(partials, place)
    for part in range(1, parts):
        total = add(total, load(partials, part * size + place))
    return total


@serial
def _sum_taps(partials, parts, size, work, to, term, v, s):
    """Store the sums of one source channel's taps, one vector after the other."""
    for tap in range(s.terms // s.in_group):
        at = (term + tap * s.in_group) * s.row + v
        store(work, to + tap * lanes(work), _sum(partials, parts, size, at))


@serial
def _sum_points(partials, parts, size, work, inner, to, c, v, s):
    """Store one source channel's taps: the sums of its points, transformed back: Gᵀ m G."""
    width = lanes(work)
    step = s.in_group * s.row
    for j in range(6):
        at = c * s.row + v + j * step
        points = (
            _sum(partials, parts, size, at),
            _sum(partials, parts, size, at + 6 * step),
            _sum(partials, parts, size, at + 12 * step),
            _sum(partials, parts, size, at + 18 * step),
            _sum(partials, parts, size, at + 24 * step),
            _sum(partials, parts, size, at + 30 * step),
        )
        store_each(_gt(points), work, inner + j * width, 6 * width, width)
    for p in range(3):
        taps = _gt(load_rows(work, inner + 6 * p * width, width, 5, 6))
        store_each(taps, work, to + 3 * p * width, width, width)


@serial
def _g(g):
    """G g, of a filter's column or row."""
    g0, g1, g2 = g
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
def _gt(m):
    """Gᵀ m, of a column or row of points."""
    m0, m1, m2, m3, m4, m5 = m
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
    column_0 = _g(load_rows(direct, place, 3 * tap, 2, 3))
    column_1 = _g(load_rows(direct, place + tap, 3 * tap, 2, 3))
    column_2 = _g(load_rows(direct, place + 2 * tap, 3 * tap, 2, 3))
    for i in range(6):
        points = _g((column_0[i], column_1[i], column_2[i]))
        store_each(points, packed, to + 6 * i * point, point, lanes(direct))
