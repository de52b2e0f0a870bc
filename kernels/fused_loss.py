"""The loss as a part of a forward pass that is captured: it leaves numbers in arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.errors import ShapeError
from kernels.fused_checks import check_array, check_in_order, check_written, fused_backend
from kernels.lazy import Float64
from kernels.ops import checks

LABELS, LOSSES = np.empty(0, np.int64), np.empty(0)
"""Of their dtypes."""


def cross_entropy(
    logits: FloatArray,
    labels: NDArray[np.int64],
    *,
    losses: Float64,
    grad_logits: FloatArray,
    backend: str | None = None,
) -> None:
    """The losses of single rows, and the gradient of their mean.

    See :func:`kernels.softmax_cross_entropy`. Who captures it and replays it on other labels has to
    see to it that they are classes.

    Parameters
    ----------
    logits : (N, K) array of float32 or float64
        One row of scores per sample; N and K are 1 or more.
    labels : (N,) array of int64, C-contiguous
        True classes, from 0 to K - 1.
    losses : (N,) array of float64, C-contiguous
        Is given the losses.
    grad_logits : (N, K) array of logits' dtype, C-contiguous
        Is given the gradient of their mean.
    backend : str, optional
        Instead of the current backend.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    checks.floats(ndim=2, logits=logits)
    if logits.size == 0:
        raise ShapeError(f"logits must have 1 or more rows and columns, got {logits.shape}")
    N, K = logits.shape
    check_array("labels", labels, (N,), LABELS)
    check_array("losses", losses, (N,), LOSSES)
    check_array("grad_logits", grad_logits, (N, K), logits)
    check_in_order(labels=labels, losses=losses)
    check_written(losses=losses, grad_logits=grad_logits)
    checks.within("labels", labels, K, "the columns of logits")
    chosen.cross_entropy(logits, labels, losses=losses, grad_logits=grad_logits)
