"""Weighted sums over windows, a vector of channels at a time: average-pooling both ways."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.blocks import copy
from kernels.backends.numba.calls import integers_at
from kernels.backends.numba.jit import inlined, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    at_address,
    bundle_lanes,
    lanes,
    load_first,
    load_like,
    multiply,
    multiply_add,
    splat,
    store,
    store_first,
    zeros,
    zeros_bundle,
)
from kernels.geometry import PoolGeometry

SMALL = 32768
"""Elements of the larger array up to which one thread does the work."""

N_, C_, H_, W_, TARGET_H, TARGET_W, TASKS, SPANS, WEIGHTS, SOURCE, TARGET = range(11)


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
    tasks = N * min(sizes[0], sizes[2]) if max(source.size, out.size) > SMALL else 1
    with FlatOutput(out) as target:
        entries = (N, C, *sizes, tasks, spans, weights, flat_input(source), target)
        run([Phase(SUM_ROWS, tasks, tasks)], entries, target)


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
    return np.concatenate(spans), np.concatenate(weights).astype(dtype)


def _sum_rows(work, call, task):
    N, C, H, W, TH, TW = call[N_], call[C_], call[H_], call[W_], call[TARGET_H], call[TARGET_W]
    source, target = at_address(work, call[SOURCE]), at_address(work, call[TARGET])
    spans, weights = integers_at(call[SPANS], 0), at_address(work, call[WEIGHTS])
    tasks = call[TASKS]
    first = task * N * TH // tasks
    for row in range(first, (task + 1) * N * TH // tasks):
        n, i = row // TH, row % TH
        if row > first and i > 0 and _rows_are_alike(i, H, TH, spans, weights):
            copy(target, row * TW * C, target, (row - 1) * TW * C, TW * C)
        else:
            _sum_row(source, target, n, i, C, H, W, TH, TW, spans, weights)


@serial
def _rows_are_alike(i, H, TH, spans, weights):
    """Tell whether row i has the same sums as the row before: backwards, in the same windows."""
    same_begin, same_end = spans[i] == spans[i - 1], spans[TH + i] == spans[TH + i - 1]
    return same_begin and same_end and weights[H + i] == weights[H + i - 1]


@serial
def _sum_row(source, target, n, i, C, H, W, TH, TW, spans, weights):
    image, row = n * H * W * C, (n * TH + i) * TW * C
    bundled = C - C % bundle_lanes(source)
    whole = C - C % lanes(source)
    for j in range(TW):
        begin, count = spans[2 * TH + j], spans[2 * TH + TW + j] - spans[2 * TH + j]
        scale = weights[H + i] * weights[H + TH + W + j]
        window = (spans[i], spans[TH + i], begin, count, C, W, H + TH + begin)
        at = row + j * C
        for c in range(0, bundled, bundle_lanes(source)):
            total = _sum_window(source, image + c, zeros_bundle(source), None, window, weights)
            store(target, at + c, multiply(splat(total, scale), total))
        for c in range(bundled, whole, lanes(source)):
            total = _sum_window(source, image + c, zeros(source), None, window, weights)
            store(target, at + c, multiply(splat(total, scale), total))
        if whole < C:
            total = _sum_window(source, image + whole, zeros(source), C - whole, window, weights)
            store_first(target, at + whole, multiply(splat(total, scale), total), C - whole)


@inlined
def _sum_window(source, image, nothing, valid, window, weights):
    """Sum each line on its own: errors grow with H + W, not with H·W."""
    h_begin, h_end, begin, count, C, W, at = window
    total = nothing
    for p in range(h_begin, h_end):
        line, first = nothing, image + (p * W + begin) * C
        for q in range(count):
            if valid is None:  # decided when it is compiled
                values = load_like(source, first + q * C, nothing)
            else:
                values = load_first(source, first + q * C, valid)
            line = multiply_add(splat(line, weights[at + q]), values, line)
        total = multiply_add(splat(total, weights[p]), line, total)
    return total


SUM_ROWS = Task(_sum_rows)
