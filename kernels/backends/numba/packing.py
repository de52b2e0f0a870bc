"""Weights in the order in which the micro-kernel reads them.

A panel is a few vectors of target channels; its rows follow one another in memory, padded with
zeros. Of one that is a single vector wide each two rows are interleaved, for the micro-kernel to
multiply pairs of terms.
"""

from __future__ import annotations

from kernels.backends.numba.blocks import clear
from kernels.backends.numba.calls import (
    BIAS,
    BIASES,
    FILTERS,
    FILTERS_SIZE,
    PACKED,
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
from kernels.backends.numba.points import points_apart
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    add,
    at_address,
    constant,
    interleaved,
    lanes,
    load,
    load_first,
    load_rows,
    multiply,
    multiply_add,
    pointer,
    store,
    store_each,
    store_first,
    subtract,
    turn_square,
)

PACK_CHANNELS, PACK_TERMS = 16, 256
"""Most source channels, and how many taps of theirs, that are packed at a time: for a vector of
target channels they stay in the L1 cache."""


def block_size(window: int, width: int) -> int:
    """Return the elements in which weights of so many taps are turned over, lanes by ``width``.

    A vector of rows more, since the last square may have so many behind them.
    """
    return (_channels_together(window) * window + width) * width


def _channels_together(window: int) -> int:
    return max(1, min(PACK_CHANNELS, PACK_TERMS // window))


_block_channels = serial(_channels_together)


def pack_panel(work, call, index):
    """Pack a panel for the direct algorithm or for Winograd's; likewise its biases.

    Direct weights are [group][panel][term][panel's channels], a phase's terms its taps times the
    source channels of a group; Winograd's are [panel][point][source channel][panel's channels].
    A panel has the channels of neighbours that share a vector, one after the other.
    """
    s = shape_at(call[SHAPES], 0)
    group, panel = index // s.panels, index % s.panels
    v = panel * s.panel
    valid = min(s.panel, s.out_group - v)
    source = group * call[FILTERS_SIZE] // s.groups + v * call[STEP_TARGET]
    own = valid // s.neighbours
    if not is_packed(work, call, index, source, own * call[STEP_TARGET]):
        _pack(work, source, own, call, index, s)
    first = group * s.out_group + v
    pack_biases(work, first, valid, call, s)


@serial
def pack_biases(work, first, valid, call, s):
    """Put down what some target channels start from."""
    start = at_address(work, call[START])
    clear(start, first, valid)
    if call[BIASES] > 0:
        bias = at_address(work, call[BIAS])
        for c in range(first, first + valid):
            start[c] = bias[c % s.target_channels]


@serial
def _pack(work, source, own, call, index, s):
    """Pack a panel of ``own`` channels, whose weights begin at ``source``."""
    if s.winograd > 0:
        apart = points_apart(s.in_group * s.panel, lanes(work))
        points = pointer(at_address(work, call[POINTS]), index * 36 * apart)
        pack_points(work, source, own, 0, s.in_group, points, apart, call, s)
        return
    plain, place, width = at_address(work, call[PACKED]), index * s.terms * s.panel, lanes(work)
    if own < s.panel:
        clear(plain, place, s.terms * s.panel)
    most = _block_channels(min(call[STEP_SOURCE], call[STEP_TARGET]))
    for block in range(0, s.in_group, most):
        channels = min(most, s.in_group - block)
        for lane in range(0, own, width):
            _turn(work, source, own, block, channels, lane, call, s)
            to = place + block * s.panel + lane
            _store_terms(work, channels, plain, to, min(width, own - lane), own, call, s)
    if s.paired > 0 and own * s.neighbours <= width:
        _pair_rows(plain, place, s.terms, s.panel)


@serial
def pack_points(work, source, own, first, count, points, apart, call, s):
    """Transform a panel's 3×3 filters of some source channels, from the first on.

    To [point][source channel][panel's channels], points ``apart``.
    """
    width = lanes(work)
    for block in range(0, count, PACK_CHANNELS):
        channels = min(PACK_CHANNELS, count - block)
        for lane in range(0, s.panel, width):
            _turn(work, source, own, first + block, channels, lane, call, s)
            _transform_filters(work, channels, points, block * s.panel + lane, apart, call, s)
    if s.paired > 0 and own <= width:
        for point in range(36):
            _pair_rows(points, point * apart, count, s.panel)


@serial
def _turn(work, source, own, block, channels, lane, call, s):
    """Lay a vector of a panel's weights out as [source channel · tap][lane]."""
    valid = max(0, min(lanes(work), own - lane))
    if s.joined == 1:
        first = source + block * call[STEP_SOURCE] + lane * call[STEP_TARGET]
        _turn_weights(work, first, valid, channels, call)
    else:
        _turn_joined(work, block, channels, valid, call, s)


@serial
def _pair_rows(packed, place, rows, step):
    """Interleave each two rows of one vector; the second gets what does not fit into the first."""
    width = lanes(packed)
    for row in range(place, place + rows * step, 2 * step):
        pairs = interleaved(load(packed, row), load(packed, row + step))
        store_each(pairs, packed, row, step, width)


@serial
def _turn_weights(work, first, valid, channels, call):
    """Lay the weights of a vector of target channels out as [source channel · tap][lane].

    Lanes that are not valid get zeros. By squares, if the last one does not end behind the weights.
    One by one, 256 channels to 512 took 660 µs on 2 threads of Zen 5, now 260.
    """
    weight, width = at_address(work, call[FILTERS]), lanes(work)
    step_source, step_target = call[STEP_SOURCE], call[STEP_TARGET]
    window = min(step_source, step_target)
    if step_target == 1:
        for c in range(channels):
            store(work, c * width, load_first(weight, first + c * step_source, valid))
        return
    run = channels * window if step_source == window else window
    squares = -(-run // width) * width
    for c in range(0, channels * window, run):
        at = first + c // window * step_source
        end = at + (width - 1) * step_target + squares
        if valid == width and end <= call[FILTERS_SIZE]:
            for i in range(0, run, width):
                turn_square(weight, at + i, step_target, work, (c + i) * width, width)
        else:
            for i in range(run):
                to = (c + i) * width
                clear(work, to, width)
                for lane in range(valid):
                    work[to + lane] = weight[at + lane * step_target + i]


@serial
def _turn_joined(work, block, channels, valid, call, s):
    """Lay the weights of joined groups out in the same way; between them they are zero."""
    weight, width, sources = at_address(work, call[FILTERS]), lanes(work), s.in_group // s.joined
    step_source, step_target = call[STEP_SOURCE], call[STEP_TARGET]
    window, targets = min(step_source, step_target), valid // s.joined
    clear(work, 0, channels * window * width)
    for c in range(channels):
        group, channel = (block + c) // sources, (block + c) % sources
        first = group * (call[FILTERS_SIZE] // s.joined) + channel * step_source
        for lane in range(targets):
            to = c * window * width + group * targets + lane
            for i in range(window):
                work[to + i * width] = weight[first + lane * step_target + i]


@serial
def _store_terms(work, channels, plain, to, valid, own, call, s):
    """Store a vector of target channels' weights, tap by tap."""
    taps, count, width = integers_at(call[TAPS], 0), call[TAP_COUNT], lanes(work)
    window = min(call[STEP_SOURCE], call[STEP_TARGET])
    for pixel in range(s.neighbours):
        for t in range(count):
            tap = taps[pixel * count + t]
            at = to + t * s.in_group * s.panel + pixel * own
            for c in range(channels if tap >= 0 else 0):
                row = load(work, (c * window + tap) * width)
                store_first(plain, at + c * s.panel, row, valid)


PACK = Task(pack_panel)


@serial
def _transform_filters(work, channels, points, to, apart, call, s):
    """Store the points of 3×3 filters from a place on: G g Gᵀ."""
    taps, width = integers_at(call[TAPS], 0), lanes(work)
    step = (taps[1] - taps[0]) * width
    for c in range(channels):
        first = (9 * c + taps[0]) * width
        column_0 = _g(load_rows(work, first, 3 * step, 2, 3))
        column_1 = _g(load_rows(work, first + step, 3 * step, 2, 3))
        column_2 = _g(load_rows(work, first + 2 * step, 3 * step, 2, 3))
        for i in range(6):
            row = _g((column_0[i], column_1[i], column_2[i]))
            store_each(row, points, to + c * s.panel + 6 * i * apart, apart, width)


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
