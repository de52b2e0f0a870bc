"""Joins: what is read through batch-norms added up, then ReLU, then max-pooling, in one pass."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.activation import relu_backward
from kernels.backends.numba.jit import serial
from kernels.backends.numba.maxima import write_read_maxima
from kernels.backends.numba.memory import FlatOutput, empty, flat_input, in_planes
from kernels.backends.numba.normalization_tasks import GRADIENT_SUMS, MASKED_SUMS, MERGED_SUMS
from kernels.backends.numba.operands import norm_of
from kernels.backends.numba.plane_joining import mask_planes, write_planes
from kernels.backends.numba.pooled_joining import pooled_sums
from kernels.backends.numba.reduction import block_extent, rows_of
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add,
    at_address,
    at_least,
    bundle_lanes,
    lanes,
    load_first,
    load_like,
    multiply_add,
    splat,
    store,
    store_first,
    subtract,
    zeros,
    zeros_bundle,
)
from kernels.capturing import also
from kernels.geometry import PoolGeometry
from kernels.lazy import Read, Sums

VALUES, TABLE, Y, FLOOR, OTHER = range(5, 10)
"""Entries after the division into blocks, forward; backward has batch-norm's."""


def join_forward(
    reads: tuple[Read, ...],
    relu: bool,
    pool: PoolGeometry | None,
    *,
    out: FloatArray,
    position: NDArray[np.uint8] | None,
) -> None:
    """Read two stored arrays at a time; what more there are is added up before."""
    while len(reads) > 2:
        total = empty(reads[0].x.shape, out.dtype)
        _write_sum(reads[:2], False, total)
        reads = (Read(total), *reads[2:])
    if pool is None and len(reads) == 1 and in_planes(out):
        write_planes(reads[0], relu, out)
    elif pool is None:
        _write_sum(reads, relu, out)
    else:
        _write_pooled(reads, relu, pool, out, position)


def join_backward(
    grad_y: FloatArray,
    position: NDArray[np.uint8] | None,
    y: FloatArray,
    reads: tuple[Read, ...],
    relu: bool,
    pool: PoolGeometry | None,
    *,
    out: FloatArray | None,
) -> tuple[Sums | None, ...]:
    """Mask and sum in one pass; each further read with a mean takes another, over its own x."""
    if pool is None and out is not None and len(reads) == 1 and in_planes(grad_y):
        return (mask_planes(grad_y, reads[0], out),)
    all_sums: list[Sums | None] = []
    for read in reads:
        sums = None
        if read.mean is not None and pool is not None:
            assert position is not None
            sums = pooled_sums(grad_y, position, read.x, read.mean, pool)
        elif read.mean is not None:
            sums = _masked_sums(grad_y, y if relu else None, read, out)
            if out is not None:  # masked now
                grad_y, relu = out, False
        all_sums.append(sums)
    if out is not None and relu:
        relu_backward(grad_y, y, out=out)
    return tuple(all_sums)


def _write_sum(reads: tuple[Read, ...], relu: bool, out: FloatArray) -> None:
    rows = rows_of(reads[0].x, reads[0].x.shape[1])
    table = _numbers(reads, rows.together)
    floor = np.array([0 if relu else -np.inf], out.dtype)
    x, other = _flat_pair(reads)
    task = READ if other is None else SUM
    with FlatOutput(out) as y:
        run([Phase(task, rows.tasks, rows.tasks)], (*rows, x, table, y, floor, other), y)


def _write_pooled(
    reads: tuple[Read, ...],
    relu: bool,
    pool: PoolGeometry,
    out: FloatArray,
    position: NDArray[np.uint8] | None,
) -> None:
    pair, table = _flat_pair(reads), _numbers(reads, 1)
    places = nullcontext() if position is None else FlatOutput(position)
    with FlatOutput(out) as y, places as taps:
        write_read_maxima(*pair, table, relu, pool, y, taps)


def _flat_pair(reads: tuple[Read, ...]) -> tuple[FloatArray, FloatArray | None]:
    return flat_input(reads[0].x), flat_input(reads[1].x) if len(reads) == 2 else None


def _numbers(reads: tuple[Read, ...], together: int) -> FloatArray:
    """Return mean, scale and shift of each read as rows, each ``together`` times."""
    if len(reads) == together == 1:
        norm = norm_of(reads[0])
        if norm is not None:
            return norm
    C = reads[0].x.shape[1]
    table = np.empty((len(reads), 3, together, C), reads[0].x.dtype)
    for numbers, read in zip(table, reads, strict=True):
        norm = norm_of(read)
        if norm is None:
            numbers[0], numbers[1], numbers[2] = 0, 1, 0
        else:
            also(np.copyto, numbers, norm.reshape(3, 1, C))
    return table.reshape(-1)


def _masked_sums(
    grad: FloatArray, gates: FloatArray | None, read: Read, out: FloatArray | None
) -> Sums:
    """Sum the gradient where the gates are open, and write it if there are any."""
    x, gradient = flat_input(read.x), flat_input(grad)
    rows = rows_of(x, read.x.shape[1])
    centre = np.empty((rows.together, rows.C), x.dtype)
    also(np.copyto, centre, read.mean)
    parts, channels = np.empty(rows.tasks * 2 * centre.size, x.dtype), np.empty((5, rows.C))
    channels[1] = 1  # rstd, by which batch-norm's sum over x is multiplied
    entries = (*rows, x, gradient, channels.reshape(-1), parts, centre.reshape(-1))
    merge = Phase(MERGED_SUMS, 1, 1)
    if gates is None or out is None:
        run([Phase(GRADIENT_SUMS, rows.tasks, rows.tasks), merge], entries, x)
    else:
        with FlatOutput(out) as masked:
            phases = [Phase(MASKED_SUMS, rows.tasks, rows.tasks), merge]
            run(phases, (*entries, masked, flat_input(gates)), x)
    return Sums(channels[3], channels[4])


def _read_block(work, call, task):
    _write_block(at_address(work, call[VALUES]), None, work, call, task)


def _sum_block(work, call, task):
    _write_block(at_address(work, call[VALUES]), at_address(work, call[OTHER]), work, call, task)


@serial
def _write_block(x, other, work, call, task):
    """Write the sum of what is read of x and, unless it is None, of ``other``."""
    table, y = at_address(work, call[TABLE]), at_address(work, call[Y])
    floor = at_address(work, call[FLOOR])[0]
    first, end, width, step = block_extent(call, task)
    whole = width - width % bundle_lanes(x)
    for c in range(0, whole, bundle_lanes(x)):
        nothing = zeros_bundle(x)
        mean, scale = load_like(table, c, nothing), load_like(table, c + step, nothing)
        shift, least = load_like(table, c + 2 * step, nothing), splat(nothing, floor)
        if other is None:
            for i in range(first + c, end, width):
                value = multiply_add(scale, subtract(load_like(x, i, nothing), mean), shift)
                store(y, i, at_least(value, least))
        else:
            mean_2 = load_like(table, c + 3 * step, nothing)
            scale_2 = load_like(table, c + 4 * step, nothing)
            shift_2 = load_like(table, c + 5 * step, nothing)
            for i in range(first + c, end, width):
                value = multiply_add(scale, subtract(load_like(x, i, nothing), mean), shift)
                centred = subtract(load_like(other, i, nothing), mean_2)
                value = add(value, multiply_add(scale_2, centred, shift_2))
                store(y, i, at_least(value, least))
    for c in range(whole, width, lanes(x)):
        valid = min(lanes(x), width - c)
        for i in range(first + c, end, width):
            value = _read_first(x, i, table, c, step, valid)
            if other is not None:
                value = add(value, _read_first(other, i, table, c + 3 * step, step, valid))
            store_first(y, i, at_least(value, splat(zeros(x), floor)), valid)


@serial
def _read_first(x, i, table, at, step, valid):
    centred = subtract(load_first(x, i, valid), load_first(table, at, valid))
    scale = load_first(table, at + step, valid)
    return multiply_add(scale, centred, load_first(table, at + 2 * step, valid))


READ, SUM = Task(_read_block), Task(_sum_block)
