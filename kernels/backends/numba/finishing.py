"""What happens to a task's target pixels while they are in cache: sums, skip gradients, masks.

Sums are taken in blocks of pixels short enough for float32 and added up in float64, one slot per
task; they are merged in the order of the tasks.
"""

from __future__ import annotations

from kernels.backends.numba.calls import (
    ADDED,
    ADDS,
    MASK,
    MASK_RELU,
    MASKED,
    MASKS,
    MERGED,
    SHAPES,
    SLOT_PIXELS,
    SLOTS,
    SLOTTED,
    doubles_at,
    integers_at,
    shape_at,
)
from kernels.backends.numba.jit import inlined, serial
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    add,
    at_address,
    greater_or_nan,
    lanes,
    load_first,
    multiply_add,
    select,
    store,
    store_first,
    subtract,
    zeros,
)

BLOCK_PIXELS = 256
"""Pixels summed in the data's own dtype."""


@serial
def collect_moments(target, first, pixels, C, c_from, c_to, slots, slot, work, inner):
    """Sum the pixels' deviations from the first one, and their squares.

    ``slots[slot:]`` gets, for each channel of the range, that first pixel, the sum and the sum of
    squares, C apart.
    """
    for c in range(c_from, c_to, lanes(target)):
        valid = min(lanes(target), c_to - c)
        shift = load_first(target, first + c, valid)
        for i in range(valid):
            slots[slot + c + i] = target[first + c + i]
            slots[slot + C + c + i] = slots[slot + 2 * C + c + i] = 0
        for block in range(0, pixels, BLOCK_PIXELS):
            total, squares = zeros(target), zeros(target)
            next_total, next_squares = zeros(target), zeros(target)
            end = min(block + BLOCK_PIXELS, pixels)
            for pixel in range(block, end, 2):
                at = first + pixel * C + c
                total, squares = _deviate(target, at, valid, shift, total, squares)
                if pixel + 1 < end:
                    next_total, next_squares = _deviate(
                        target, at + C, valid, shift, next_total, next_squares
                    )
            _add_to(slots, slot + C + c, add(total, next_total), valid, work, inner)
            _add_to(slots, slot + 2 * C + c, add(squares, next_squares), valid, work, inner)


@inlined
def _deviate(target, at, valid, shift, total, squares):
    deviation = subtract(load_first(target, at, valid), shift)
    return add(total, deviation), multiply_add(deviation, deviation, squares)


@serial
def finish_gradient(target, first, pixels, C, c_from, c_to, call, slots, slot, work, inner):
    """Add a skip's gradient, mask by the ReLU of what was read, and sum for its batch-norm.

    ``slots[slot:]`` gets each channel's Σ g and Σ g·(x − mean), C apart.
    """
    adds, normed, relu = call[ADDS] > 0, call[MASKS] > 0, call[MASK_RELU] > 0
    if not adds and not relu and not normed:
        return
    added, x = at_address(target, call[ADDED]), at_address(target, call[MASKED])
    norm = at_address(target, call[MASK])
    zero = zeros(target)
    for c in range(c_from, c_to, lanes(target)):
        valid = min(lanes(target), c_to - c)
        mean, scale, shift = zero, zero, zero
        if normed:
            mean = load_first(norm, c, valid)
            scale = load_first(norm, C + c, valid)
            shift = load_first(norm, 2 * C + c, valid)
            for i in range(valid):
                slots[slot + c + i] = slots[slot + C + c + i] = 0
        for block in range(0, pixels, BLOCK_PIXELS):
            total, products = zero, zero
            for pixel in range(block, min(block + BLOCK_PIXELS, pixels)):
                at = first + pixel * C + c
                gradient = load_first(target, at, valid)
                if adds:
                    gradient = add(gradient, load_first(added, at, valid))
                centred = subtract(load_first(x, at, valid), mean)
                if relu:
                    value = centred
                    if normed:
                        value = multiply_add(scale, centred, shift)
                    gradient = select(greater_or_nan(value, zero), gradient, zero)
                store_first(target, at, gradient, valid)
                total = add(total, gradient)
                products = multiply_add(gradient, centred, products)
            if normed:
                _add_to(slots, slot + c, total, valid, work, inner)
                _add_to(slots, slot + C + c, products, valid, work, inner)


@serial
def sum_pixels(pixels_of, first, pixels, step, C, slots, slot, work, inner):
    """Add the pixels' sums to ``slots[slot:]``, one for each channel."""
    for c in range(0, C, lanes(work)):
        valid = min(lanes(work), C - c)
        for block in range(0, pixels, BLOCK_PIXELS):
            total = zeros(work)
            for pixel in range(block, min(block + BLOCK_PIXELS, pixels)):
                total = add(total, load_first(pixels_of, first + pixel * step + c, valid))
            _add_to(slots, slot + c, total, valid, work, inner)


@serial
def _add_to(slots, at, vector, valid, work, inner):
    """Add a vector's lanes to float64 sums, by way of ``work[inner:]``."""
    store(work, inner, vector)
    for i in range(valid):
        slots[at + i] += work[inner + i]


def _clear_slots(work, call, _):
    """Begin what :func:`sum_pixels` adds to."""
    slots = doubles_at(call[SLOTS], 0)
    for i in range(call[SLOTTED]):
        slots[i] = 0.0


def _merge_moments(work, call, _):
    """Merge the tasks' moments, [task][shift, Σ (y - shift), Σ (y - shift)²][channel].

    The pairwise rule of Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances" (1979), for all tasks at once. The result is mean, then variance.
    """
    slots, merged = doubles_at(call[SLOTS], 0), doubles_at(call[MERGED], 0)
    pixels, tasks = integers_at(call[SLOT_PIXELS], 0), call[SLOTTED]
    C, total = shape_at(call[SHAPES], 0).target_channels, 0
    for task in range(tasks):
        total += pixels[task]
    for c in range(C):
        mean, var = 0.0, 0.0
        for task in range(tasks):
            at = task * 3 * C + c
            mean += pixels[task] / total * (slots[at] + slots[at + C] / pixels[task])
        for task in range(tasks):
            at = task * 3 * C + c
            deviation, count = slots[at + C], pixels[task]
            apart = slots[at] + deviation / count - mean
            var += slots[at + 2 * C] - deviation * deviation / count + count * apart * apart
        merged[c], merged[C + c] = mean, var / total


CLEAR_SLOTS, MERGE_MOMENTS = Task(_clear_slots), Task(_merge_moments)
