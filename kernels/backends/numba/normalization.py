"""Batch-norm and its gradients: one pass for the sums, one for the values."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.jit import keep_to, parallel, restore, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.moments import (
    gradient_sums_of_block,
    merge_moments,
    merge_sums,
    moments_of_block,
)
from kernels.backends.numba.reduction import Rows, block_size, block_start, rows_of
from kernels.backends.numba.vector import (
    bundle_lanes,
    lanes,
    load_bundle,
    load_first,
    multiply_add,
    store,
    store_first,
    subtract,
)


def batch_norm(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    eps: float,
    *,
    out: FloatArray,
    mean: FloatArray,
    rstd: FloatArray,
) -> None:
    """Take the statistics, then centre, scale and shift.

    What the mean loses when it is rounded to its dtype goes into the shift.
    """
    channels = np.empty((4, len(weight)))
    channels[2], channels[3] = weight, bias
    _normalize(x, channels, eps, True, out)
    mean[...], rstd[...] = channels[0], channels[1]


def batch_norm_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    mean: FloatArray,
    rstd: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """``grad_x = a · grad_y + b · (x - mean) + c`` with three numbers for each channel."""
    channels = np.empty((5, len(weight)))
    channels[0], channels[1], channels[2] = mean, rstd, weight
    values = flat_input(x)
    rows = rows_of(values, len(weight))
    parts, table = _scratch(rows, 2, 4, values.dtype)
    with FlatOutput(grad_x) as gradient:
        _backward(
            flat_input(grad_y), values, channels.reshape(-1), *rows, True, parts, table, gradient
        )
    grad_bias[...], grad_weight[...] = channels[3], channels[4]


def batch_norm_inference(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    running_mean: FloatArray,
    running_var: FloatArray,
    eps: float,
    *,
    out: FloatArray,
) -> None:
    """Centre, scale and shift."""
    channels = np.empty((4, len(weight)))
    channels[0], channels[1] = running_mean, _rstd(running_var, eps)
    channels[2], channels[3] = weight, bias
    _normalize(x, channels, eps, False, out)


def batch_norm_inference_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    running_mean: FloatArray,
    running_var: FloatArray,
    eps: float,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Scale; the statistics are constants."""
    channels = np.empty((5, len(weight)))
    channels[0], channels[1], channels[2] = running_mean, _rstd(running_var, eps), weight
    values = flat_input(x)
    rows = rows_of(values, len(weight))
    parts, table = _scratch(rows, 2, 4, values.dtype)
    _backward(flat_input(grad_y), values, channels.reshape(-1), *rows, False, parts, table, table)
    grad_bias[...], grad_weight[...] = channels[3], channels[4]
    channels[0] = channels[3] = 0.0  # x has no part in the gradient, NaN or not
    _normalize(grad_y, channels[:4], eps, False, grad_x)


def _rstd(var: FloatArray, eps: float) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 / np.sqrt(np.add(var, eps, dtype=np.float64))


def _normalize(
    x: FloatArray, channels: NDArray[np.float64], eps: float, training: bool, out: FloatArray
) -> None:
    """Write ``weight · rstd · (x - mean) + bias``, the centred form, right for large means.

    ``channels`` are mean, rstd, weight and bias; the first two are results in training.
    """
    values = flat_input(x)
    rows = rows_of(values, channels.shape[1])
    parts, table = _scratch(rows, 3, 3, values.dtype)
    with FlatOutput(out) as y:
        _forward(values, channels.reshape(-1), eps, *rows, training, parts, table, y)


def _scratch(
    rows: Rows, sums: int, parameters: int, dtype: np.dtype[Any]
) -> tuple[FloatArray, FloatArray]:
    """Return room for each block's sums, and for wide rows of parameters."""
    width = rows.together * rows.C
    return np.empty(rows.tasks * sums * width, dtype), np.empty(parameters * width, dtype)


@parallel
def _forward(values, channels, eps, M, C, together, block, tasks, training, parts, table, out):
    team = keep_to(tasks)
    if training:
        for task in numba.prange(tasks):
            moments_of_block(values, M, C, together, block, task, parts)
        merge_moments(parts, M, C, together, block, tasks, channels)
        for c in range(C, 2 * C):
            channels[c] = 1.0 / np.sqrt(channels[c] + eps)
    _affine_table(channels, C, together, table)
    for task in numba.prange(tasks):
        _normalize_block(values, table, M, C, together, block, task, out)
    restore(team)


@serial
def _affine_table(channels, C, together, table):
    """Write wide rows of mean, scale and shift; the mean's rounding error goes into the shift."""
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


@serial
def _normalize_block(values, table, M, C, together, block, task, out):
    first = block_start(task, M, together, block) * C
    count, replicas = block_size(task, M, together, block)
    width, step = replicas * C, together * C
    end = first + count * width
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


@parallel
def _backward(grad, values, channels, M, C, together, block, tasks, combine, parts, table, out):
    team = keep_to(tasks)
    _gradient_table(channels, M, C, together, table)
    for task in numba.prange(tasks):
        gradient_sums_of_block(grad, values, table, M, C, together, block, task, parts, None, None)
    merge_sums(parts, M, C, together, block, tasks, channels, 3 * C)
    for c in range(C):
        channels[4 * C + c] *= channels[C + c]
    if combine:
        _gradient_table(channels, M, C, together, table)
        for task in numba.prange(tasks):
            _combine_block(grad, values, table, M, C, together, block, task, out)
    restore(team)


@serial
def _gradient_table(channels, M, C, together, table):
    """Write wide rows of mean, a, b and c, given mean, rstd, weight, grad_bias, grad_weight."""
    step = together * C
    for place in range(step):
        c = place % C
        rstd, a = channels[C + c], channels[2 * C + c] * channels[C + c]
        table[place] = channels[c]
        table[step + place] = a
        table[2 * step + place] = -a * channels[4 * C + c] * rstd / M
        table[3 * step + place] = -a * channels[3 * C + c] / M


@serial
def _combine_block(grad, values, table, M, C, together, block, task, out):
    first = block_start(task, M, together, block) * C
    count, replicas = block_size(task, M, together, block)
    width, step = replicas * C, together * C
    end = first + count * width
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
