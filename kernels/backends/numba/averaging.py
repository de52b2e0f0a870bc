"""Weighted sums over windows, a vector of channels at a time: average-pooling both ways."""

from __future__ import annotations

import functools

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.jit import keep_to, parallel, restore, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.tails import load_valid, store_valid
from kernels.backends.numba.vector import lanes, multiply, multiply_add, splat, zeros
from kernels.geometry import PoolGeometry

SMALL = 32768
"""Elements of the larger array up to which one thread does the work."""


def window_sums(
    source: FloatArray,
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    backward: bool,
    out: FloatArray,
) -> None:
    """Gather each target from the sources under its window, or over it if ``backward``."""
    spans, weights = _axes(geometry, count_include_pad, divisor_override, backward, source.dtype)
    N, C = geometry.batch, geometry.channels
    sizes = source.shape[2], source.shape[3], out.shape[2], out.shape[3]
    tasks = N * out.shape[2] if max(source.size, out.size) > SMALL else 1
    with FlatOutput(out) as target:
        _sum_rows(flat_input(source), target, N, C, *sizes, tasks, spans, weights)


@functools.lru_cache(maxsize=64)
def _axes(
    geometry: PoolGeometry,
    count_include_pad: bool,
    divisor_override: int | None,
    backward: bool,
    dtype: np.dtype[np.floating],
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return two tables of both axes, rows first.

    Target t is ``target_weights[t] · Σ source_weights[s] · s``, where s goes from ``begins[t]`` to
    ``ends[t] - 1``. The tables are begins and ends, and the weights of sources and targets. The
    product of a row's and a column's weight is 1 / D.
    """
    spans, weights = [], []
    for number, axis in enumerate((geometry.height, geometry.width)):
        start = np.arange(axis.outputs) * axis.stride - axis.before
        begins, ends = np.maximum(start, 0), np.minimum(start + axis.kernel, axis.size)
        counts = ends - begins
        if divisor_override is not None:
            counts[:] = divisor_override if number == 0 else 1
        elif count_include_pad:
            counts = np.minimum(start + axis.kernel, axis.size + axis.after) - start
        places = np.arange(axis.size)
        if backward:  # which windows each place lies under
            first = np.searchsorted(ends, places, side="right")
            last = np.searchsorted(begins, places, side="right")
            spans += [first, last]
            weights += [1.0 / counts, np.ones(axis.size)]
        else:
            spans += [begins, ends]
            weights += [np.ones(axis.size), 1.0 / counts]
    tables = np.concatenate(spans), np.concatenate(weights).astype(dtype)
    for table in tables:
        table.flags.writeable = False
    return tables


@parallel
def _sum_rows(source, target, N, C, H, W, TH, TW, tasks, spans, weights):
    team = keep_to(tasks)
    for task in numba.prange(tasks):
        for row in range(task * N * TH // tasks, (task + 1) * N * TH // tasks):
            _sum_row(source, target, row // TH, row % TH, C, H, W, TH, TW, spans, weights)
    restore(team)


@serial
def _sum_row(source, target, n, i, C, H, W, TH, TW, spans, weights):
    weight = weights[H + i]
    end = ((n * TH + i) * TW + TW) * C
    for j in range(TW):
        place = ((n * TH + i) * TW + j) * C
        scale = weight * weights[H + TH + W + j]
        begin, count = spans[2 * TH + j], spans[2 * TH + TW + j] - spans[2 * TH + j]
        for c in range(0, C, lanes(source)):
            total = zeros(source)
            valid = min(lanes(source), C - c)
            for p in range(spans[i], spans[TH + i]):
                first = ((n * H + p) * W + begin) * C + c
                line = _sum_of_line(source, first, C, valid, count, weights, H + TH + begin)
                total = multiply_add(splat(total, weights[p]), line, total)
            store_valid(target, place + c, multiply(splat(total, scale), total), valid)


@serial
def _sum_of_line(source, first, C, valid, count, weights, at):
    """Sum a line of its own: errors grow with H + W, not with H·W."""
    line = zeros(source)
    for q in range(count):
        values = load_valid(source, first + q * C, valid)
        line = multiply_add(splat(line, weights[at + q]), values, line)
    return line
