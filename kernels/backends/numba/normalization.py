"""Batch-norm and its gradients: one pass for the sums, one for the values."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.reduction import block_rows
from kernels.backends.numba.vector import (
    add,
    lanes,
    load_first,
    multiply,
    multiply_add,
    splat,
    store_first,
    subtract,
    zeros,
)

Float64 = NDArray[np.float64]


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
    values = flat_input(x)
    mu, var = _statistics(values, len(weight))
    mean[...] = mu
    rstd[...] = _rstd(var, eps)
    scale = weight * _rstd(var, eps)
    _normalize(values, mean, scale, bias - scale * (mu - mean), out)


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
    grad, values = flat_input(grad_y), flat_input(x)
    sums, products = _gradient_sums(grad, values, mean)
    M = x.size // len(weight)
    r = rstd.astype(np.float64)
    a = weight * r
    coefficients = (a, -a * products * r * r / M, -a * sums / M)
    _combine(grad, values, mean, coefficients, grad_x)
    grad_weight[...], grad_bias[...] = products * r, sums


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
    scale = weight * _rstd(running_var, eps)
    _normalize(flat_input(x), running_mean, scale, bias, out)


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
    grad, values = flat_input(grad_y), flat_input(x)
    sums, products = _gradient_sums(grad, values, running_mean)
    rstd = _rstd(running_var, eps)
    nothing = np.zeros_like(rstd)
    _normalize(grad, nothing, weight * rstd, nothing, grad_x)  # x has no part in it, NaN or not
    grad_weight[...], grad_bias[...] = products * rstd, sums


def _rstd(var: FloatArray, eps: float) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 / np.sqrt(var.astype(np.float64) + eps)


def _statistics(values: FloatArray, C: int) -> tuple[Float64, Float64]:
    """Return mean and biased variance of each channel.

    A block takes its mean, then centres its values on that: Σ d corrects the mean, Σ d² is not
    spoilt by cancellation. Blocks are merged by equation 2.1 of Chan, Golub & LeVeque, "Algorithms
    for computing the sample variance" (1983), in float64.
    """
    M = values.size // C
    rows = block_rows(C)
    starts = np.arange(0, M, rows)
    parts = np.empty((3, len(starts), C), values.dtype)
    _block_statistics(values, M, C, rows, *parts.reshape(3, -1))
    centres, sums, squares = parts.astype(np.float64)
    counts = np.minimum(rows, M - starts)[:, None]
    means = centres + sums / counts
    mean = (counts * means).sum(axis=0) / M
    squares += counts * (np.square(means - mean) - np.square(means - centres))
    return mean, np.maximum(squares.sum(axis=0) / M, 0.0)


def _gradient_sums(
    grad: FloatArray, values: FloatArray, mean: FloatArray
) -> tuple[Float64, Float64]:
    """Return ``Σ grad`` and ``Σ grad · (x - mean)`` of each channel."""
    C = len(mean)
    M = values.size // C
    rows = block_rows(C)
    parts = np.empty((2, -(-M // rows), C), values.dtype)
    _block_gradient_sums(grad, values, flat_input(mean), M, C, rows, *parts.reshape(2, -1))
    sums, products = parts.sum(axis=1, dtype=np.float64)
    return sums, products


def _normalize(
    values: FloatArray, mean: FloatArray, scale: FloatArray, shift: FloatArray, out: FloatArray
) -> None:
    """Write ``scale · (x - mean) + shift``: the centred form, which is right for large means."""
    parameters = np.stack([mean, scale, shift]).astype(values.dtype)
    C = len(mean)
    M = values.size // C
    with FlatOutput(out) as y:
        _normalize_blocks(values, flat_input(parameters.reshape(-1)), M, C, block_rows(C), y)


def _combine(
    grad: FloatArray,
    values: FloatArray,
    mean: FloatArray,
    coefficients: tuple[FloatArray, FloatArray, FloatArray],
    out: FloatArray,
) -> None:
    """Write ``a · grad + b · (x - mean) + c``."""
    parameters = np.stack([mean, *coefficients]).astype(values.dtype)
    C = len(mean)
    M = values.size // C
    rows = block_rows(C)
    with FlatOutput(out) as grad_x:
        _combine_blocks(grad, values, flat_input(parameters.reshape(-1)), M, C, rows, grad_x)


@parallel
def _block_statistics(values, M, C, rows, centres, sums, squares):
    for block in numba.prange(-(-M // rows)):
        first, count = block * rows, min(rows, M - block * rows)
        _statistics_of_block(values, first, count, C, centres, sums, squares, block * C)


@serial
def _statistics_of_block(values, first, count, C, centres, sums, squares, place):
    for c in range(0, C, lanes(values)):
        valid = min(lanes(values), C - c)
        total = zeros(values)
        for row in range(first, first + count):
            total = add(total, load_first(values, row * C + c, valid))
        centre = multiply(total, splat(total, values.dtype.type(1 / count)))
        total, square = zeros(values), zeros(values)
        for row in range(first, first + count):
            centred = subtract(load_first(values, row * C + c, valid), centre)
            total = add(total, centred)
            square = multiply_add(centred, centred, square)
        store_first(centres, place + c, centre, valid)
        store_first(sums, place + c, total, valid)
        store_first(squares, place + c, square, valid)


@parallel
def _normalize_blocks(values, parameters, M, C, rows, out):
    for block in numba.prange(-(-M // rows)):
        first = block * rows
        _normalize_block(values, parameters, first, min(rows, M - first), C, out)


@serial
def _normalize_block(values, parameters, first, count, C, out):
    for c in range(0, C, lanes(values)):
        valid = min(lanes(values), C - c)
        mean = load_first(parameters, c, valid)
        scale = load_first(parameters, C + c, valid)
        shift = load_first(parameters, 2 * C + c, valid)
        for row in range(first, first + count):
            centred = subtract(load_first(values, row * C + c, valid), mean)
            store_first(out, row * C + c, multiply_add(scale, centred, shift), valid)


@parallel
def _block_gradient_sums(grad, values, mean, M, C, rows, sums, products):
    for block in numba.prange(-(-M // rows)):
        first, count = block * rows, min(rows, M - block * rows)
        _gradient_sums_of_block(grad, values, mean, first, count, C, sums, products, block * C)


@serial
def _gradient_sums_of_block(grad, values, mean, first, count, C, sums, products, place):
    for c in range(0, C, lanes(values)):
        valid = min(lanes(values), C - c)
        centre = load_first(mean, c, valid)
        total, product = zeros(values), zeros(values)
        for row in range(first, first + count):
            g = load_first(grad, row * C + c, valid)
            centred = subtract(load_first(values, row * C + c, valid), centre)
            total = add(total, g)
            product = multiply_add(g, centred, product)
        store_first(sums, place + c, total, valid)
        store_first(products, place + c, product, valid)


@parallel
def _combine_blocks(grad, values, parameters, M, C, rows, out):
    for block in numba.prange(-(-M // rows)):
        first = block * rows
        _combine_block(grad, values, parameters, first, min(rows, M - first), C, out)


@serial
def _combine_block(grad, values, parameters, first, count, C, out):
    for c in range(0, C, lanes(values)):
        valid = min(lanes(values), C - c)
        mean = load_first(parameters, c, valid)
        a = load_first(parameters, C + c, valid)
        b = load_first(parameters, 2 * C + c, valid)
        constant = load_first(parameters, 3 * C + c, valid)
        for row in range(first, first + count):
            centred = subtract(load_first(values, row * C + c, valid), mean)
            g = load_first(grad, row * C + c, valid)
            result = multiply_add(a, g, multiply_add(b, centred, constant))
            store_first(out, row * C + c, result, valid)
