"""Softmax and cross-entropy, a row at a time."""

from __future__ import annotations

import math

import numba
import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.jit import parallel, serial
from kernels.backends.numba.memory import FlatOutput, flat_input


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
    return float(losses.mean())


@parallel
def _softmax_rows(logits, probabilities, N, K):
    for n in numba.prange(N):
        _softmax_row(logits, probabilities, n * K, (n + 1) * K)


@parallel
def _log_softmax_rows(logits, logarithms, N, K):
    for n in numba.prange(N):
        _log_softmax_row(logits, logarithms, n * K, (n + 1) * K)


@serial
def _log_softmax_row(logits, logarithms, first, last):
    largest, total = _softmax_row(logits, logarithms, first, last)
    for k in range(first, last):
        logarithms[k] = logits[k] - largest - math.log(total)


@serial
def _softmax_row(logits, probabilities, first, last):
    """Write a row of probabilities; return its maximum and the sum of exponentials."""
    largest = logits[first]
    for k in range(first, last):
        if logits[k] > largest or math.isnan(logits[k]):
            largest = logits[k]
    total = 0.0
    for k in range(first, last):
        e = math.exp(logits[k] - largest)
        probabilities[k] = e
        total += e
    for k in range(first, last):
        probabilities[k] /= total
    return largest, total


@parallel
def _cross_entropy_rows(logits, labels, grad, losses, N, K):
    for n in numba.prange(N):
        _cross_entropy_row(logits, labels[n], grad, losses, n, N, K)


@serial
def _cross_entropy_row(logits, label, grad, losses, n, N, K):
    first, last = n * K, (n + 1) * K
    largest, total = _softmax_row(logits, grad, first, last)
    losses[n] = math.log(total) - (np.float64(logits[first + label]) - np.float64(largest))
    grad[first + label] -= 1
    for k in range(first, last):
        grad[k] /= N
