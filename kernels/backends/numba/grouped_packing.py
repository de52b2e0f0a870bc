"""Weights of convolutions whose lanes are groups: packed, and their gradients back.

Packed they are [vector of groups][target channel of a group][tap · source channel][group].
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
from kernels.backends.numba.vector import add, at_address, lanes, load, store


def pack_groups(work, call, index):
    """Pack the weights and biases of a vector of groups."""
    s, width = shape_at(call[SHAPES], 0), lanes(work)
    first, size = index * width, call[FILTERS_SIZE] // s.groups
    groups = min(width, s.groups - first)
    if not is_packed(work, call, index, first * size, groups * size):
        _pack_weights(at_address(work, call[FILTERS]), first, groups, work, call, s)
    start, begin = at_address(work, call[START]), first * s.out_group
    clear(start, begin, width * s.out_group)
    if call[BIASES] > 0:
        bias = at_address(work, call[BIAS])
        for i in range(groups):
            for o in range(s.out_group):
                start[begin + o * width + i] = bias[(first + i) * s.out_group + o]


@serial
def _pack_weights(weight, first, groups, work, call, s):
    packed, width, taps = at_address(work, call[PACKED]), lanes(work), integers_at(call[TAPS], 0)
    place = first * s.out_group * s.terms
    clear(packed, place, width * s.out_group * s.terms)
    for i in range(groups):
        source = (first + i) * (call[FILTERS_SIZE] // s.groups)
        for o in range(s.out_group):
            for t in range(call[TAP_COUNT]):
                to = place + (o * s.terms + t * s.in_group) * width + i
                at = source + o * call[STEP_TARGET] + taps[t]
                for c in range(s.in_group):
                    packed[to + c * width] = weight[at + c * call[STEP_SOURCE]]


PACK_GROUPS = Task(pack_groups)


def unpack_groups(work, call, index):
    """Add up the partial gradients of a vector of groups, in their order, and unpack them."""
    s, width = shape_at(call[SHAPES], 0), lanes(work)
    partials, grad = at_address(work, call[PARTIALS]), at_address(work, call[GRAD_FILTERS])
    taps, first = s.terms // s.in_group, index * width
    for o in range(s.out_group):
        place = (first * s.out_group + o * width) * s.terms
        for term in range(s.terms):
            total = load(partials, place + term * width)
            for part in range(1, call[PARTS]):
                at = part * call[PARTIALS_SIZE] + place + term * width
                total = add(total, load(partials, at))
            store(work, term * width, total)
        for i in range(min(width, s.groups - first)):
            to = ((first + i) * s.out_group + o) * s.terms
            for c in range(s.in_group):
                for t in range(taps):
                    grad[to + c * taps + t] = work[(t * s.in_group + c) * width + i]


UNPACK_GROUPS = Task(unpack_groups)
