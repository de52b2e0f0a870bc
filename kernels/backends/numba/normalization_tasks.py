"""The tasks of batch-norm: sums of blocks, tables of what each channel needs, values of blocks."""

from __future__ import annotations

import numpy as np

from kernels.backends.numba.calls import doubles_at
from kernels.backends.numba.moments import (
    gradient_sums_of_block,
    merge_moments,
    merge_sums,
    moments_of_block,
)
from kernels.backends.numba.reduction import block_extent, division
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    at_address,
    bundle_lanes,
    lanes,
    load_bundle,
    load_first,
    multiply_add,
    store,
    store_first,
    subtract,
)

VALUES, GRAD, CHANNELS, PARTS, TABLE, OUT, EPS, TAKEN, GIVEN, VECTORS = range(5, 15)
GATES = EPS
"""Entries after the division into blocks; forward has eps where backward may have gates.

From VECTORS on there are pairs of a row of the channels and a vector, TAKEN of them to be copied
into the row, then GIVEN to be copied from it.
"""


def _take(work, call, _):
    channels, C = doubles_at(call[CHANNELS], 0), call[1]
    for i in range(VECTORS, VECTORS + 2 * call[TAKEN], 2):
        row, vector = call[i] * C, at_address(work, call[i + 1])
        for c in range(C):
            channels[row + c] = vector[c]


def _give(work, call, _):
    channels, C = doubles_at(call[CHANNELS], 0), call[1]
    first = VECTORS + 2 * call[TAKEN]
    for i in range(first, first + 2 * call[GIVEN], 2):
        row, vector = call[i] * C, at_address(work, call[i + 1])
        for c in range(C):
            vector[c] = channels[row + c]


def _moments(work, call, task):
    values, parts = at_address(work, call[VALUES]), at_address(work, call[PARTS])
    moments_of_block(values, call, task, parts)


def _merged_moments(work, call, _):
    merge_moments(at_address(work, call[PARTS]), call, doubles_at(call[CHANNELS], 0))


def _rstd(work, call, _):
    """Make rstd of the variances in its place."""
    channels, eps, C = doubles_at(call[CHANNELS], 0), doubles_at(call[EPS], 0)[0], call[1]
    for c in range(C, 2 * C):
        channels[c] = 1.0 / np.sqrt(channels[c] + eps)


def _affine_table(work, call, _):
    """Write wide rows of mean, scale and shift; the mean's rounding error goes into the shift."""
    channels, table = doubles_at(call[CHANNELS], 0), at_address(work, call[TABLE])
    _, C, together, _, _ = division(call)
    step = together * C
    for place in range(step):
        c = place % C
        mean, scale = channels[c], channels[2 * C + c] * channels[C + c]
        table[place] = mean
        table[step + place] = scale
        lost = mean - table[place]
        # Neither 0 times an infinite scale nor what an infinite mean loses is NaN.
        shift = scale * lost if abs(lost) > 0.0 else 0.0
        table[2 * step + place] = channels[3 * C + c] - shift


def _normalize_block(work, call, task):
    values, out = at_address(work, call[VALUES]), at_address(work, call[OUT])
    table = at_address(work, call[TABLE])
    first, end, width, step = block_extent(call, task)
    whole = width - width % bundle_lanes(values)
    for c in range(0, whole, bundle_lanes(values)):
        mean = load_bundle(table, c)
        scale = load_bundle(table, step + c)
        shift = load_bundle(table, 2 * step + c)
        for i in range(first + c, end, width):
            centred = subtract(load_bundle(values, i), mean)
            store(out, i, multiply_add(scale, centred, shift))
    for c in range(whole, width, lanes(values)):
        valid = min(lanes(values), width - c)
        mean = load_first(table, c, valid)
        scale = load_first(table, step + c, valid)
        shift = load_first(table, 2 * step + c, valid)
        for i in range(first + c, end, width):
            centred = subtract(load_first(values, i, valid), mean)
            store_first(out, i, multiply_add(scale, centred, shift), valid)


def _gradient_table(work, call, _):
    """Write wide rows of mean, a, b and c, given mean, rstd, weight, grad_bias, grad_weight."""
    channels, table = doubles_at(call[CHANNELS], 0), at_address(work, call[TABLE])
    M, C, together, _, _ = division(call)
    step = together * C
    for place in range(step):
        c = place % C
        rstd, a = channels[C + c], channels[2 * C + c] * channels[C + c]
        table[place] = channels[c]
        table[step + place] = a
        table[2 * step + place] = -a * channels[4 * C + c] * rstd / M
        table[3 * step + place] = -a * channels[3 * C + c] / M


def _gradient_sums(work, call, task):
    grad, values = at_address(work, call[GRAD]), at_address(work, call[VALUES])
    table, parts = at_address(work, call[TABLE]), at_address(work, call[PARTS])
    gradient_sums_of_block(grad, values, table, call, task, parts, None, None)


def _masked_sums(work, call, task):
    grad, values = at_address(work, call[GRAD]), at_address(work, call[VALUES])
    table, parts = at_address(work, call[TABLE]), at_address(work, call[PARTS])
    gates, masked = at_address(work, call[GATES]), at_address(work, call[OUT])
    gradient_sums_of_block(grad, values, table, call, task, parts, gates, masked)


def _merged_sums(work, call, _):
    channels, parts = doubles_at(call[CHANNELS], 0), at_address(work, call[PARTS])
    _, C, _, _, _ = division(call)
    merge_sums(parts, call, channels, 3 * C)
    for c in range(C):
        channels[4 * C + c] *= channels[C + c]


def _combine_block(work, call, task):
    grad, values = at_address(work, call[GRAD]), at_address(work, call[VALUES])
    table, out = at_address(work, call[TABLE]), at_address(work, call[OUT])
    first, end, width, step = block_extent(call, task)
    whole = width - width % bundle_lanes(values)
    for c in range(0, whole, bundle_lanes(values)):
        mean, a = load_bundle(table, c), load_bundle(table, step + c)
        b, constant = load_bundle(table, 2 * step + c), load_bundle(table, 3 * step + c)
        for i in range(first + c, end, width):
            centred = subtract(load_bundle(values, i), mean)
            rest = multiply_add(b, centred, constant)
            store(out, i, multiply_add(a, load_bundle(grad, i), rest))
    for c in range(whole, width, lanes(values)):
        valid = min(lanes(values), width - c)
        mean, a = load_first(table, c, valid), load_first(table, step + c, valid)
        b = load_first(table, 2 * step + c, valid)
        constant = load_first(table, 3 * step + c, valid)
        for i in range(first + c, end, width):
            centred = subtract(load_first(values, i, valid), mean)
            rest = multiply_add(b, centred, constant)
            store_first(out, i, multiply_add(a, load_first(grad, i, valid), rest), valid)


TAKE, GIVE = Task(_take), Task(_give)
MOMENTS, MERGED_MOMENTS, RSTD = Task(_moments), Task(_merged_moments), Task(_rstd)
AFFINE_TABLE, NORMALIZE = Task(_affine_table), Task(_normalize_block)
GRADIENT_TABLE = Task(_gradient_table)
GRADIENT_SUMS, MASKED_SUMS = Task(_gradient_sums), Task(_masked_sums)
MERGED_SUMS, COMBINE = Task(_merged_sums), Task(_combine_block)
