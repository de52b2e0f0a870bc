"""Softmax and cross-entropy, a row at a time in vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.calls import doubles_at, integers_at
from kernels.backends.numba.jit import serial
from kernels.backends.numba.memory import FlatOutput, flat_input
from kernels.backends.numba.tasks import Phase, Task, run
from kernels.backends.numba.vector import (
    add,
    at_address,
    constant,
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
from kernels.lazy import Float64

THREAD_WORK = 4096
"""Exponentials, about 2 µs of one core, that are worth a thread."""

ROW_WORK = 32
"""Exponentials in the time that a row takes besides its own."""

N_, K_, LOGITS, OUT, LABELS, LOSSES = range(6)


def cross_entropy(
    logits: FloatArray, labels: IntArray, *, losses: Float64, grad_logits: FloatArray
) -> None:
    """Write log-sum-exp less the true logit of each row, and the gradient of the mean."""
    with FlatOutput(grad_logits) as grad:
        run_rows(CROSS_ENTROPY, logits, grad, flat_input(labels), losses)


def run_rows(task: Task, logits: FloatArray, out: FloatArray, *more: NDArray[Any]) -> None:
    """Run a task on each row of logits."""
    N, K = logits.shape
    team = 1 + N * (K + ROW_WORK) // THREAD_WORK
    run([Phase(task, N, team)], (N, K, flat_input(logits), out, *more), out)


def _softmax_row(work, call, n):
    K, probabilities = call[K_], at_address(work, call[OUT])
    _, total = _exponentials(at_address(work, call[LOGITS]), probabilities, n * K, K)
    _scale(probabilities, n * K, K, 1 / total)


def _log_softmax_row(work, call, n):
    K, logits = call[K_], at_address(work, call[LOGITS])
    logarithms = at_address(work, call[OUT])
    largest, total = _exponentials(logits, logarithms, n * K, K)
    _shift(logits, logarithms, n * K, K, largest, math.log(total))


def _cross_entropy_row(work, call, n):
    N, K, logits = call[N_], call[K_], at_address(work, call[LOGITS])
    grad, labels = at_address(work, call[OUT]), integers_at(call[LABELS], 0)
    largest, total = _exponentials(logits, grad, n * K, K)
    true, loss = n * K + labels[n], doubles_at(call[LOSSES], n)
    loss[0] = math.log(total) - (np.float64(logits[true]) - largest)
    _scale(grad, n * K, K, 1 / (total * N))
    grad[true] -= 1 / N


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
    factors = constant(zeros(values), factor)
    for k in range(0, K, lanes(values)):
        valid = min(K - k, lanes(values))
        store_first(
            values, first + k, multiply(load_first(values, first + k, valid), factors), valid
        )


@serial
def _shift(values, out, first, K, largest, logarithm):
    largest_ = constant(zeros(values), largest)
    logarithm_ = constant(zeros(values), logarithm)
    for k in range(0, K, lanes(values)):
        valid = min(K - k, lanes(values))
        centred = subtract(load_first(values, first + k, valid), largest_)
        store_first(out, first + k, subtract(centred, logarithm_), valid)


SOFTMAX, LOG_SOFTMAX = Task(_softmax_row), Task(_log_softmax_row)
CROSS_ENTROPY = Task(_cross_entropy_row)
