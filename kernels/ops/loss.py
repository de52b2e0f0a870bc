"""Softmax, and the cross-entropy of its probabilities."""

from __future__ import annotations

from typing import NamedTuple

from kernels import dispatch
from kernels.backends.contract import FloatArray, IntArray
from kernels.errors import ShapeError
from kernels.ops import checks
from kernels.ops.repeating import repeatable


class CrossEntropyResult(NamedTuple):
    """The batch's mean loss, and its gradient with respect to the logits."""

    mean_loss: float
    grad_logits: FloatArray


@repeatable
def softmax(logits: FloatArray, *, backend: str | None = None) -> FloatArray:
    """Probabilities of each row: ``exp(z_k - m) / Σ_j exp(z_j - m)`` with ``m = max_j z_j``.

    Parameters
    ----------
    logits : (N, K) array of float32 or float64
        One row of scores per sample.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, K) array
        Each row sums to 1.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    _check_logits(logits)
    probabilities = checks.new(chosen, logits.shape, logits.dtype)
    chosen.softmax(logits, out=probabilities)
    return probabilities


@repeatable
def log_softmax(logits: FloatArray, *, backend: str | None = None) -> FloatArray:
    """Logarithms of each row's :func:`softmax`: ``z_k - m - log Σ_j exp(z_j - m)``.

    Parameters
    ----------
    logits : (N, K) array of float32 or float64
        One row of scores per sample.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, K) array

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    _check_logits(logits)
    logarithms = checks.new(chosen, logits.shape, logits.dtype)
    chosen.log_softmax(logits, out=logarithms)
    return logarithms


def softmax_cross_entropy(
    logits: FloatArray, labels: IntArray, *, backend: str | None = None
) -> CrossEntropyResult:
    """Mean cross-entropy of softmax probabilities against true classes, and its gradient.

    ``loss = -1/N · Σ_n log softmax(logits[n])[labels[n]]``, by the log-sum-exp form, and
    ``grad_logits = (softmax(logits) - one_hot(labels)) / N`` (Goodfellow, Bengio & Courville,
    "Deep Learning", section 6.2.2.3).

    Parameters
    ----------
    logits : (N, K) array of float32 or float64
        One row of scores per sample; N is 1 or more.
    labels : (N,) array of integers
        True classes, from 0 to K - 1.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    CrossEntropyResult
        ``mean_loss`` (a Python float) and ``grad_logits`` (N, K).

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    _check_logits(logits)
    N, K = logits.shape
    if N < 1:
        raise ShapeError(f"logits must have 1 or more rows to take a mean of, got {logits.shape}")
    checks.integers("labels", labels)
    checks.shape("labels", labels, (N,), "the rows of logits")
    checks.within("labels", labels, K, "the columns of logits")
    grad_logits = checks.new(chosen, logits.shape, logits.dtype)
    mean_loss = chosen.softmax_cross_entropy(logits, labels, grad_logits=grad_logits)
    return CrossEntropyResult(mean_loss, grad_logits)


def _check_logits(logits: FloatArray) -> None:
    checks.floats(ndim=2, logits=logits)
    if logits.shape[1] < 1:
        raise ShapeError(f"logits must have 1 or more columns, got shape {logits.shape}")
