"""Softmax and cross-entropy, row by row."""

from __future__ import annotations

import math

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.naive.memory import scalars


def softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """``exp(z_k) / Σ_j exp(z_j)``, with the row's maximum taken off first."""
    for n, row in enumerate(scalars(logits).tolist()):
        largest = _largest(row)
        exponentials = [math.exp(z - largest) for z in row]
        total = sum(exponentials)
        for k, e in enumerate(exponentials):
            out[n, k] = e / total


def log_softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """``z_k - m - log Σ_j exp(z_j - m)`` with the row's maximum m."""
    for n, row in enumerate(scalars(logits).tolist()):
        largest = _largest(row)
        total = sum(math.exp(z - largest) for z in row)
        for k, z in enumerate(row):
            out[n, k] = z - largest - math.log(total)


def softmax_cross_entropy(
    logits: FloatArray, labels: IntArray, *, grad_logits: FloatArray
) -> float:
    """``-1/N Σ_n log softmax(logits[n])[labels[n]]``; gradient ``(softmax - one_hot) / N``."""
    N = logits.shape[0]
    loss = 0.0
    for n, row in enumerate(scalars(logits).tolist()):
        largest = _largest(row)
        exponentials = [math.exp(z - largest) for z in row]
        total = sum(exponentials)
        loss += math.log(total) - (row[int(labels[n])] - largest)
        for k, e in enumerate(exponentials):
            one_hot = 1.0 if k == labels[n] else 0.0
            grad_logits[n, k] = (e / total - one_hot) / N
    return float(loss / N)


def _largest(row: list[float]) -> float:
    return math.nan if any(math.isnan(z) for z in row) else max(row)
