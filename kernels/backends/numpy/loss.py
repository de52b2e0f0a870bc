"""Softmax and cross-entropy, all rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.contract import FloatArray, IntArray


def softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """Exponentials of the rows less their maxima, over their sums."""
    np.exp(_shifted(logits), out=out)
    out /= out.sum(axis=1, keepdims=True)


def log_softmax(logits: FloatArray, *, out: FloatArray) -> None:
    """Shifted rows less the logarithm of the sum of their exponentials."""
    shifted = _shifted(logits)
    np.subtract(shifted, np.log(np.exp(shifted).sum(axis=1, keepdims=True)), out=out)


def softmax_cross_entropy(
    logits: FloatArray, labels: IntArray, *, grad_logits: FloatArray
) -> float:
    """Take the log-sum-exp of the shifted rows less the shifted true logit; mean in float64."""
    N = logits.shape[0]
    shifted = _shifted(logits)
    true = (np.arange(N), labels)
    np.exp(shifted, out=grad_logits)
    total = grad_logits.sum(axis=1, keepdims=True)
    losses = np.log(total[:, 0], dtype=np.float64) - shifted[true]
    grad_logits /= total
    grad_logits[true] -= 1
    grad_logits /= N
    return float(losses.mean())


def _shifted(logits: FloatArray) -> Any:
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, as it should be
        return logits - logits.max(axis=1, keepdims=True)
