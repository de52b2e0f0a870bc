"""The loop nests of convolutions whose lanes are groups: gather, and accumulate.

Their scratch buffers have pixels of [vector of groups][channel of a group][group]; see
``plan_grouped``. All else is as in ``gathering`` and ``accumulating``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.backends.numba.blocks import copy
from kernels.backends.numba.calls import (
    BLOCKS,
    LOAD,
    PARTIALS,
    PARTIALS_SIZE,
    PARTS,
    PHASES,
    SEGMENTS,
    SHAPES,
    SLOTS,
    SLOTTED,
    START,
    TARGET,
    WEIGHTS,
    block_at,
    doubles_at,
    integers_at,
    phase_at,
    shape_at,
)
from kernels.backends.numba.finishing import sum_pixels
from kernels.backends.numba.gathering import finish_band
from kernels.backends.numba.grouped_kernel import TILE_ROWS, multiply_groups, prepare
from kernels.backends.numba.jit import serial
from kernels.backends.numba.loading import load_band
from kernels.backends.numba.micro_kernel import START as FROM_START
from kernels.backends.numba.micro_kernel import SUMS, ZEROS
from kernels.backends.numba.tasks import Task
from kernels.backends.numba.vector import (
    at_address,
    dealt,
    gathered,
    lanes,
    load_rows,
    pointer,
    store_each,
)

ROWS = TILE_ROWS[0]


def gather_groups(work, call, task):
    """Load the sources of some pixels, multiply, and finish the targets."""
    s = shape_at(call[SHAPES], 0)
    band, image = task % s.bands, task // s.bands * s.chunk
    images = min(s.chunk, s.images - image)
    scratch_size = s.scratch_rows * s.scratch_columns * s.pixel
    for i in range(images):
        load_band(work, i * scratch_size, image + i, band, call, s, 0, s.source_channels)
    pixels = images * s.scratch_rows * s.scratch_columns
    _deal(work, 0, pixels, s.pixel, s.grouped, s.in_group)
    row = image * s.target_rows + band * s.band_rows
    first = row * s.target_columns * s.target_channels
    target = at_address(work, call[TARGET])
    _convolve(pointer(target, first), images, band == s.bands - 1, work, call, s)
    rows = min(s.band_rows, s.target_rows - band * s.band_rows)
    pixels = images * rows * s.target_columns
    finish_band(target, first, row, pixels, 0, s.target_channels, call, s, task, work)


@serial
def _convolve(target, images, last, work, call, s):
    """Write a band of target pixels, as many at a time as a tile has rows."""
    table = integers_at(call[SEGMENTS], 0)
    for i in range(s.phases):
        phase = phase_at(call[PHASES], i)
        pixels = images * (phase.pixels_last if last else phase.pixels)
        for p in range(0, pixels, ROWS):
            count = min(ROWS, pixels - p)
            for v in range(s.grouped):
                _convolve_tile(target, phase, p, count, v, work, call, table, s)


@serial
def _convolve_tile(target, phase, p, count, v, work, call, table, s):
    """Write some target pixels of a vector of groups."""
    width, row = lanes(work), phase.first_row + p
    weights, start = at_address(work, call[WEIGHTS]), at_address(work, call[START])
    first, last = (
        block_at(call[BLOCKS], phase.first_block),
        block_at(call[BLOCKS], phase.last_block - 1),
    )
    valid, results, to = min(width, s.groups - v * width), target, v * width
    c_row = row
    if s.out_group > 1:
        results, to, c_row, valid = work, s.products_place, s.first_term, width
    for o in range(s.out_group):
        begin = (v * s.out_group + o) * width
        multiply_groups(
            results, start, work, weights, table, row, c_row, count, valid,
            FROM_START, to + o * width, begin, v * s.in_group * width, width,
            begin * s.terms + first.terms_before * width, width, first.first, last.last,
        )  # fmt: skip
    if s.out_group > 1:
        _put_together(target, v * width * s.out_group, table, row, count, v, work, s)


@serial
def _put_together(target, to, table, row, count, v, work, s):
    """Store a tile's results in the target's order of channels."""
    n, valid = s.out_group, min(lanes(work), s.groups - v * lanes(work)) * s.out_group
    if n == 2:
        _put_2(target, to, table, row, count, work, s.products_place, valid)
    elif n == 3:
        _put_3(target, to, table, row, count, work, s.products_place, valid)
    elif n == 4:
        _put_4(target, to, table, row, count, work, s.products_place, valid)


def _make_put(n: int) -> Callable[..., Any]:
    """Make the loop that stores the n vectors of each row of a tile, as far as they are valid."""

    @serial
    def put(target, to, table, row, count, work, place, valid):
        width = lanes(work)
        for i in range(count):
            at, first = place + i * n * width, to + table[2 * (row + i) + 1]
            vectors = gathered(load_rows(work, at, width, n - 1, n))
            if valid == n * width:
                store_each(vectors, target, first, width, width)
            else:
                store_each(vectors, work, at, width, width)
                copy(target, first, work, at, valid)

    return put


_put_2, _put_3, _put_4 = (_make_put(n) for n in (2, 3, 4))


def accumulate_groups(work, call, part):
    """Sum the weight gradient over a part of the tasks."""
    s = shape_at(call[SHAPES], 0)
    tasks = -(-s.images // s.chunk) * s.bands
    first, last = part * tasks // call[PARTS], (part + 1) * tasks // call[PARTS]
    sums = pointer(at_address(work, call[PARTIALS]), part * call[PARTIALS_SIZE])
    for task in range(first, last):
        _accumulate_task(sums, part * s.target_channels, work, task, task > first, call)


@serial
def _accumulate_task(sums, slot, work, task, add, call):
    """Add a task's products to the sums, or begin them."""
    s, g = shape_at(call[SHAPES], 0), shape_at(call[SHAPES], 1)
    band, image = task % s.bands, task // s.bands * s.chunk
    images = min(s.chunk, s.images - image)
    source_pixels, grad_pixels = (
        s.scratch_rows * s.scratch_columns,
        g.scratch_rows * g.scratch_columns,
    )
    for i in range(images):
        load_band(work, i * source_pixels * s.pixel, image + i, band, call, s, 0, s.source_channels)
        to = g.scratch_place + i * grad_pixels * g.pixel
        load_band(work, to, image + i, band, pointer(call, LOAD), g, 0, g.source_channels)
    if call[SLOTTED] > 0:
        sum_pixels(
            work, g.scratch_place, images * grad_pixels, g.pixel, g.source_channels,
            doubles_at(call[SLOTS], 0), slot, work, s.inner_place,
        )  # fmt: skip
    _deal(work, 0, images * source_pixels, s.pixel, s.grouped, s.in_group)
    _deal(work, g.scratch_place, images * grad_pixels, g.pixel, s.grouped, s.out_group)
    rows = images * min(s.band_rows, s.target_rows - band * s.band_rows)
    _multiply(sums, add, rows, work, integers_at(call[SEGMENTS], 0), s, g)


@serial
def _multiply(sums, add, rows, work, table, s, g):
    """Multiply source pixels by gradients, some rows of pixels at a time."""
    width = lanes(work)
    for i in range(0, rows, s.block_rows):
        b = g.scratch_place + i * s.target_columns * g.pixel
        for v in range(s.grouped):
            for o in range(s.out_group):
                target = (v * s.out_group + o) * width
                multiply_groups(
                    sums, sums, work, work, table, s.first_term, s.first_term, s.terms, width,
                    SUMS if add or i > 0 else ZEROS, target * s.terms, 0,
                    v * s.in_group * width, s.a_step, b + target, g.pixel,
                    i, min(rows, i + s.block_rows),
                )  # fmt: skip


def _make_deal(n: int) -> Callable[..., Any]:
    """Make the loop that deals out the n vectors of each vector of groups of each pixel."""

    @serial
    def deal(work, place, pixels, step, vectors):
        width = lanes(work)
        for pixel in range(pixels):
            for v in range(vectors):
                at = place + pixel * step + v * n * width
                store_each(dealt(load_rows(work, at, width, n - 1, n)), work, at, width, width)

    return deal


_deal_2, _deal_3, _deal_4 = (_make_deal(n) for n in (2, 3, 4))


@serial
def _deal(work, place, pixels, step, vectors, n):
    """Deal out the channels of pixels, in place."""
    if n == 2:
        _deal_2(work, place, pixels, step, vectors)
    elif n == 3:
        _deal_3(work, place, pixels, step, vectors)
    elif n == 4:
        _deal_4(work, place, pixels, step, vectors)


GATHER_GROUPS = Task(gather_groups, needs=prepare)
ACCUMULATE_GROUPS = Task(accumulate_groups, needs=prepare)
