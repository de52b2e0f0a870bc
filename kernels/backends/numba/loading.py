"""Fill a scratch buffer with the rows that a task needs, zeros around them.

What is stored need not be what the convolution is of. ``norm`` (the channels' mean, scale and
shift, one after the other) and ``relu`` turn a value into act(scale·(x − mean) + shift) on the way;
``pull`` (mean, a, b, c) with the input x of a batch-norm turns a gradient g into
a·g + b·(x − mean) + c, where g may still be pooled. Empty arrays stand for what there is not.
"""

from __future__ import annotations

from kernels.backends.numba.blocks import clear, copy
from kernels.backends.numba.calls import (
    NORM,
    NORMED,
    POOLED,
    POOLS,
    PULL,
    PULLED,
    PULLS,
    RELU,
    TAKEN,
    X,
    bytes_at,
    pool_at,
)
from kernels.backends.numba.jit import serial
from kernels.backends.numba.plan_tables import COPIED, IN_PLACE_BUT_LAST
from kernels.backends.numba.vector import (
    add,
    at_address,
    greater_or_nan,
    lanes,
    load_first,
    multiply,
    multiply_add,
    pointer,
    select,
    store_first,
    subtract,
    tap_matches,
    zeros,
)


@serial
def band_in_place(work, place, image, band, load, shape):
    """Return a pointer to the source rows of a band, as they are, or to ``work[place]``.

    The second is whether they have to be loaded there first.
    """
    normed = load[NORMED] > 0 or load[RELU] > 0
    is_last = image + shape.chunk >= shape.images and band == shape.bands - 1
    copied = shape.in_place == COPIED or (is_last and shape.in_place == IN_PLACE_BUT_LAST)
    if copied or normed or load[POOLS] > 0 or load[PULLS] > 0:
        return pointer(work, place), True
    row = image * shape.source_rows + shape.first_row + band * shape.band_step
    pixel = row * shape.source_columns + shape.first_column
    return pointer(at_address(work, load[X]), pixel * shape.source_channels), False


@serial
def load_band(scratch, place, image, band, load, shape, c_from, c_to):
    """Load the source rows of a task's band of one image: channels ``c_from`` to ``c_to``.

    ``load`` points to the entries of a call that say what is loaded; see ``calls``. A gradient that
    is pulled or pooled is loaded with all its channels.
    """
    C, columns, width = shape.source_channels, shape.source_columns, shape.scratch_columns
    step = shape.pixel
    left = min(width, max(0, -shape.first_column))
    inside = max(0, min(width - left, columns - (shape.first_column + left)))
    top = shape.first_row + band * shape.band_step
    for i in range(shape.scratch_rows):
        begin = place + i * width * step
        row = top + i
        if row < 0 or row >= shape.source_rows or inside == 0:
            clear(scratch, begin, width * step)
            continue
        pixel = (image * shape.source_rows + row) * columns + shape.first_column + left
        clear(scratch, begin, left * step)
        to = begin + left * step
        if load[POOLS] == 0 and load[PULLS] == 0:
            read_pixels(scratch, to, step, load, pixel * C, inside, C, c_from, c_to)
        else:
            pull_pixels(scratch, to, step, load, pixel * C, inside, C)
        clear(scratch, to + inside * step, (width - left - inside) * step)
    if load[POOLS] > 0:
        first = max(0, shape.first_column)
        unpool(
            scratch, place + left * step, step, width, image, top, shape.scratch_rows, first,
            inside, load, C,
        )  # fmt: skip


@serial
def read_pixels(scratch, to, step, load, begin, pixels, C, c_from, c_to):
    """Load some channels of a run of pixels through batch-norm and ReLU, if there are any."""
    source, norm = at_address(scratch, load[X]), at_address(scratch, load[NORM])
    normed, relu = load[NORMED] > 0, load[RELU] > 0
    if not normed and not relu:
        count, length = (1, pixels * C) if step == C else (pixels, c_to - c_from)
        for pixel in range(count):
            copy(scratch, to + pixel * step, source, begin + c_from + pixel * C, length)
        return
    width = lanes(source)
    zero = zeros(source)
    for c in range(c_from, c_to, width):
        valid = min(width, c_to - c)
        mean, scale, shift = zero, zero, zero
        if normed:
            mean = load_first(norm, c, valid)
            scale = load_first(norm, C + c, valid)
            shift = load_first(norm, 2 * C + c, valid)
        for pixel in range(pixels):
            value = load_first(source, begin + pixel * C + c, valid)
            if normed:
                value = multiply_add(scale, subtract(value, mean), shift)
            if relu:
                value = select(greater_or_nan(value, zero), value, zero)
            at = c - c_from
            store_first(scratch, to + pixel * step + at, value, min(width, step - at))


@serial
def pull_pixels(scratch, to, step, load, begin, pixels, C):
    """Load a run of pixels of the gradient, without the part that is still pooled."""
    source, pulled = at_address(scratch, load[X]), at_address(scratch, load[PULLED])
    pull, pulls, pooled = at_address(scratch, load[PULL]), load[PULLS] > 0, load[POOLS] > 0
    width = lanes(source)
    for c in range(0, C, width):
        valid = min(width, C - c)
        a, b, mean, constant = zeros(source), zeros(source), zeros(source), zeros(source)
        if pulls:
            mean = load_first(pull, c, valid)
            a = load_first(pull, C + c, valid)
            b = load_first(pull, 2 * C + c, valid)
            constant = load_first(pull, 3 * C + c, valid)
        for pixel in range(pixels):
            at = begin + pixel * C + c
            value = constant
            if pulls:
                x = load_first(pulled, at, valid)
                value = multiply_add(b, subtract(x, mean), value)
            if not pooled:
                value = multiply_add(a, load_first(source, at, valid), value)
            store_first(scratch, to + pixel * step + c, value, min(width, step - c))


@serial
def unpool(scratch, place, step, width, image, top, rows, first, columns, load, C):
    """Add each pooled gradient, times a, at the pixel that its window took.

    ``scratch[place]`` is pixel (``top``, ``first``); it has ``rows`` × ``columns`` pixels.
    """
    source, pull, pulls = at_address(scratch, load[X]), at_address(scratch, load[PULL]), load[PULLS]
    taken, pool = bytes_at(load[TAKEN], 0), pool_at(load[POOLED], 0)
    for c in range(0, C, lanes(source)):
        valid = min(lanes(source), C - c)
        for i in range(pool.rows):
            for p in range(pool.kernel_rows):
                row = i * pool.stride_rows + p * pool.dilation_rows - pool.top - top
                if row < 0 or row >= rows:
                    continue
                for j in range(pool.columns):
                    at = ((image * pool.rows + i) * pool.columns + j) * C + c
                    gradient = load_first(source, at, valid)
                    if pulls > 0:
                        gradient = multiply(gradient, load_first(pull, C + c, valid))
                    for q in range(pool.kernel_columns):
                        column = j * pool.stride_columns + q * pool.dilation_columns
                        column -= pool.left + first
                        if column < 0 or column >= columns:
                            continue
                        tap = p * pool.kernel_columns + q
                        taken_here = tap_matches(gradient, taken, at, tap, valid)
                        part = select(taken_here, gradient, zeros(source))
                        to = place + (row * width + column) * step + c
                        whole = add(load_first(scratch, to, valid), part)
                        store_first(scratch, to, whole, valid)
