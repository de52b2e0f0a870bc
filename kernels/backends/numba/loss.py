"""Softmax and cross-entropy, a row at a time in vectors."""

from __future__ import annotations

import math

import numba
import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.jit import keep_to, parallel, restore, serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.vector import (
    add,
    exponential,
    greater_or_nan,
    lanes,
    largest_lane,
    load_first,
    load_or_lowest,
    multiply,
    select,
    splat,
    store_first,
    subtract,
    sum_lanes,
    zeros,
)

THREAD_WORK = 4096
"""Exponentials, about 2 µs of one core, that are worth a thread."""

ROW_WORK = 32
"""Exponentials in the time that a row takes besides its own."""


def softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """Exponentials of each row less its maximum, over their sum."""
    with FlatOutput(out) as probabilities:
        _softmax_rows(flat_input(logits), probabilities, *logits.shape)


def log_softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """Each row less its maximum and the logarithm of the sum of exponentials."""
    with FlatOutput(out) as logarithms:
        _log_softmax_rows(flat_input(logits), logarithms, *logits.shape)


def softmax_cross_entropy(
    logits: FloatArray, labels: IntArray, *, grad_logits: FloatArray
) -> float:
    """Return the mean over rows of log-sum-exp less the true logit, in float64."""
    N, K = logits.shape
    losses = np.empty(N)
    true = flat_input(labels.astype(np.int64, copy=False))
    with FlatOutput(grad_logits) as grad:
        _cross_entropy_rows(flat_input(logits), true, grad, losses, N, K)
    return float(np.add.reduce(losses)) / N  # losses.mean() takes 4 µs longer


@parallel
def _softmax_rows(logits, probabilities, N, K):
    team = keep_to(1 + N * (K + ROW_WORK) // THREAD_WORK)
    for n in numba.prange(N):
        _, total = _exponentials(logits, probabilities, n * K, K)
        _scale(probabilities, n * K, K, 1 / total)
    restore(team)


@parallel
def _log_softmax_rows(logits, logarithms, N, K):
    team = keep_to(1 + N * (K + ROW_WORK) // THREAD_WORK)
    for n in numba.prange(N):
        largest, total = _exponentials(logits, logarithms, n * K, K)
        _shift(logits, logarithms, n * K, K, largest, math.log(total))
    restore(team)


@parallel
def _cross_entropy_rows(logits, labels, grad, losses, N, K):
    team = keep_to(1 + N * (K + ROW_WORK) // THREAD_WORK)
    for n in numba.prange(N):
        largest, total = _exponentials(logits, grad, n * K, K)
        true = n * K + labels[n]
        losses[n] = math.log(total) - (np.float64(logits[true]) - largest)
        _scale(grad, n * K, K, 1 / (total * N))
        grad[true] -= 1 / N
    restore(team)


@serial
def _exponentials(logits, out, first, K):
    """Write the exponentials of a row less its maximum; return that and their sum, in float64."""
    largest = load_or_lowest(logits, first, min(K, lanes(logits)))
    for k in range(lanes(logits), K, lanes(logits)):
        values = load_or_lowest(logits, first + k, min(K - k, lanes(logits)))
        largest = select(greater_or_nan(values, largest), values, largest)
    maximum = largest_lane(largest)
    total = zeros(logits)
    for k in range(0, K, lanes(logits)):
        valid = min(K - k, lanes(logits))
        values = load_or_lowest(logits, first + k, valid)
        powers = exponential(subtract(values, splat(values, maximum)))
        store_first(out, first + k, powers, valid)
        total = add(total, powers)
    return np.float64(maximum), np.float64(sum_lanes(total))


@serial
def _scale(values, first, K, factor):
    factors = splat(zeros(values), values.dtype.type(factor))
    for k in range(0, K, lanes(values)):
        valid = min(K - k, lanes(values))
        store_first(
            values, first + k, multiply(load_first(values, first + k, valid), factors), valid
        )


@serial
def _shift(values, out, first, K, largest, logarithm):
    largest_ = splat(zeros(values), values.dtype.type(largest))
    logarithm_ = splat(zeros(values), values.dtype.type(logarithm))
    for k in range(0, K, lanes(values)):
        valid = min(K - k, lanes(values))
        centred = subtract(load_first(values, first + k, valid), largest_)
        store_first(out, first + k, subtract(centred, logarithm_), valid)
