"""Softmax and cross-entropy."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray, IntArray
from kernels.backends.numba.memory import FlatOutput
from kernels.backends.numba.softmax_rows import LOG_SOFTMAX, SOFTMAX, cross_entropy, run_rows
from kernels.capturing import refuse


def softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """Exponentials of each row less its maximum, over their sum."""
    with FlatOutput(out) as probabilities:
        run_rows(SOFTMAX, logits, probabilities)


def log_softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """Each row less its maximum and the logarithm of the sum of exponentials."""
    with FlatOutput(out) as logarithms:
        run_rows(LOG_SOFTMAX, logits, logarithms)


def softmax_cross_entropy(
    logits: FloatArray, labels: IntArray, *, grad_logits: FloatArray
) -> float:
    """Return the mean over rows of log-sum-exp less the true logit, in float64."""
    refuse()  # a number cannot be captured
    losses = np.empty(len(logits))
    labels = labels.astype(np.int64, copy=False)
    cross_entropy(logits, labels, losses=losses, grad_logits=grad_logits)
    return float(np.add.reduce(losses)) / len(logits)  # losses.mean() takes 4 µs longer
