"""Sums over the rows of a block of channels, centred, and how blocks are merged.

A wide row has each channel ``together`` times: each of its places is summed on its own, as if it
were a block of its own. A place's moments are taken about a pivot, the mean of its first few
values: one pass over the data, and as the pivot lies between the values, ``Σ (x - pivot)²`` exceeds
``Σ (x - mean)²`` by no more than the number of rows, however large the mean. They are merged in
float64 by equation 2.1 of Chan, Golub & LeVeque, "Algorithms for computing the sample variance"
(1983).
"""

from __future__ import annotations

import numpy as np

from kernels.backends.numba.jit import serial
from kernels.backends.numba.reduction import block_extent, block_size, division
from kernels.backends.numba.vector import (
    add,
    bundle_lanes,
    constant,
    greater_or_nan,
    lanes,
    load_bundle,
    load_first,
    load_like,
    multiply,
    multiply_add,
    select,
    store,
    store_first,
    subtract,
    zeros,
    zeros_bundle,
)

PIVOT_ROWS = 4


@serial
def moments_of_block(values, call, task, parts):
    """Write pivot, Σ (x - pivot) and Σ (x - pivot)² of each place in a wide row."""
    first, end, width, step = block_extent(call, task)
    to, few = task * 3 * step, min(PIVOT_ROWS, (end - first) // width)
    whole = width - width % bundle_lanes(values)
    for c in range(0, whole, bundle_lanes(values)):
        total, square = zeros_bundle(values), zeros_bundle(values)
        for i in range(few):
            total = add(total, load_bundle(values, first + i * width + c))
        pivot = multiply(total, constant(total, 1 / few))
        total = zeros_bundle(values)
        for i in range(first + c, end, width):
            centred = subtract(load_bundle(values, i), pivot)
            total = add(total, centred)
            square = multiply_add(centred, centred, square)
        store(parts, to + c, pivot)
        store(parts, to + step + c, total)
        store(parts, to + 2 * step + c, square)
    for c in range(whole, width, lanes(values)):
        valid = min(lanes(values), width - c)
        total, square = zeros(values), zeros(values)
        for i in range(few):
            total = add(total, load_first(values, first + i * width + c, valid))
        pivot = multiply(total, constant(total, 1 / few))
        total = zeros(values)
        for i in range(first + c, end, width):
            centred = subtract(load_first(values, i, valid), pivot)
            total = add(total, centred)
            square = multiply_add(centred, centred, square)
        store_first(parts, to + c, pivot, valid)
        store_first(parts, to + step + c, total, valid)
        store_first(parts, to + 2 * step + c, square, valid)


@serial
def merge_moments(parts, call, moments):
    """Write mean and biased variance of each channel."""
    M, C, together, block, tasks = division(call)
    for c in range(2 * C):
        moments[c] = 0.0
    step = together * C
    for task in range(tasks):
        count, replicas = block_size(task, M, together, block)
        for place in range(replicas * C):
            at = task * 3 * step + place
            moments[place % C] += count * np.float64(parts[at]) + parts[at + step]
    for c in range(C):
        moments[c] /= M
    for task in range(tasks):
        count, replicas = block_size(task, M, together, block)
        for place in range(replicas * C):
            at = task * 3 * step + place
            apart = parts[at] - moments[place % C]
            off = apart * (count * apart + 2.0 * parts[at + step])
            moments[C + place % C] += parts[at + 2 * step] + off
    for c in range(C, 2 * C):
        moments[c] /= M
        if moments[c] < 0.0:  # a NaN stays
            moments[c] = 0.0


@serial
def gradient_sums_of_block(grad, x, centre, call, task, parts, gates, masked):
    """Write Σ grad and Σ grad · (x - centre) of each place; ``centre`` is a wide row.

    With ``gates``, where they are positive or NaN only, and ``masked`` is given that gradient.
    """
    first, end, width, step = block_extent(call, task)
    to = task * 2 * step
    whole = width - width % bundle_lanes(x)
    for c in range(0, whole, bundle_lanes(x)):
        nothing = zeros_bundle(x)
        middle, total, product = load_like(centre, c, nothing), nothing, nothing
        for i in range(first + c, end, width):
            g = load_like(grad, i, nothing)
            if gates is not None:
                g = select(greater_or_nan(load_like(gates, i, nothing), nothing), g, nothing)
                store(masked, i, g)
            total = add(total, g)
            product = multiply_add(g, subtract(load_like(x, i, nothing), middle), product)
        store(parts, to + c, total)
        store(parts, to + step + c, product)
    for c in range(whole, width, lanes(x)):
        valid = min(lanes(x), width - c)
        middle, rest, rest_product = load_first(centre, c, valid), zeros(x), zeros(x)
        for i in range(first + c, end, width):
            g = load_first(grad, i, valid)
            if gates is not None:
                g = select(greater_or_nan(load_first(gates, i, valid), zeros(x)), g, zeros(x))
                store_first(masked, i, g, valid)
            rest = add(rest, g)
            centred = subtract(load_first(x, i, valid), middle)
            rest_product = multiply_add(g, centred, rest_product)
        store_first(parts, to + c, rest, valid)
        store_first(parts, to + step + c, rest_product, valid)


@serial
def merge_sums(parts, call, sums, to):
    """Add up the blocks' Σ grad and Σ grad · (x - centre): 2·C numbers."""
    M, C, together, block, tasks = division(call)
    for c in range(2 * C):
        sums[to + c] = 0.0
    step = together * C
    for task in range(tasks):
        _, replicas = block_size(task, M, together, block)
        for place in range(replicas * C):
            at = task * 2 * step + place
            sums[to + place % C] += parts[at]
            sums[to + C + place % C] += parts[at + step]
