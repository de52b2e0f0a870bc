"""Gradients of weights, added up and put in the order of the weights."""

from __future__ import annotations

from kernels.backends.numba.calls import (
    GRAD_FILTERS,
    PARTIALS,
    PARTIALS_SIZE,
    PARTS,
    SHAPES,
    shape_at,
)
from kernels.backends.numba.jit import serial
from kernels.backends.numba.packing import PACK_CHANNELS
from kernels.backends.numba.points import points_apart
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
            place, step = (first + c) * s.row + v, points_apart(s.in_group * s.row, width)
            sum_points(partials, parts, size, place, step, work, points, at)
        else:
            _sum_taps(partials, parts, size, work, at, group * s.terms + first + c, v, s)
    to = ((group * s.out_group + v) * s.in_group + first) * taps
    outputs = min(width, s.out_group - v)
    turn(work, 0, channels * taps, grad, to, outputs, s.in_group * taps)


@serial
def turn(work, place, terms, grad, to, outputs, step):
    """Write each output's terms side by side, outputs ``step`` apart: squares, the rest one by one.

    All one by one, 256 channels to 512 in 3×3 of stride 2 took 12.8 ms on one thread, now 11.3; 16
    to 32 of one image of 8×8 22 µs, now 20.
    """
    width = lanes(work)
    whole = terms - terms % width if outputs == width else 0
    for i in range(0, whole, width):
        turn_square(work, place + i * width, width, grad, to + i, step)
    for o in range(outputs):
        for i in range(whole, terms):
            grad[to + o * step + i] = work[place + i * width + o]


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
def sum_points(partials, parts, size, place, step, work, inner, to):
    """Store one source channel's taps: the sums of its points, ``step`` apart, back: Gᵀ m G."""
    width = lanes(work)
    for j in range(6):
        at = place + j * step
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
