"""Batch-norm's part in fused operations: some numbers for each channel, in float64.

What convolutions and joins read through is made by :func:`norm_forward` from the moments that they
take, what they pull through by :func:`norm_backward` from their sums.
"""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.errors import ShapeError
from kernels.fused_checks import check_array, check_written, fused_backend
from kernels.lazy import Float64, Moments, Running, Sums
from kernels.ops import checks

WIDE = np.empty(0)
"""Of the dtype of what is computed in float64."""


def norm_forward(
    moments: Moments,
    weight: FloatArray,
    bias: FloatArray,
    eps: float,
    *,
    rstd: Float64,
    out: FloatArray,
    backend: str | None = None,
) -> None:
    """Make of moments what a :class:`kernels.lazy.Read` takes.

    ``rstd = 1 / sqrt(var + eps)``, ``scale = weight · rstd``, ``shift = bias``; what the mean loses
    when it is rounded to the parameters' dtype goes into the shift.

    Parameters
    ----------
    moments : Moments
        Mean and biased variance, (C,) arrays of float64 or weight's dtype.
    weight, bias : (C,) array
        Batch-norm's parameters.
    eps : float
        Added to the variance.
    rstd : (C,) array of float64, C-contiguous
        Is given its values.
    out : (3, C) array of weight's dtype, C-contiguous
        Is given mean, scale and shift.
    backend : str, optional
        Instead of the current backend.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen, C = fused_backend(backend), weight.shape
    check_array("bias", bias, C, weight)
    check_array("out", out, (3, *C), weight)
    like = WIDE if moments.mean.dtype == WIDE.dtype else weight
    for name, array in (("mean", moments.mean), ("var", moments.var)):
        check_array(name, array, C, like)
    check_array("rstd", rstd, C, WIDE)
    check_written(rstd=rstd, out=out)
    eps = checks.number("eps", eps)
    chosen.norm_forward(moments, weight, bias, eps, rstd=rstd, out=out)


def norm_backward(
    sums: Sums,
    weight: FloatArray,
    mean: FloatArray,
    rstd: Float64,
    count: int,
    *,
    out: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
    backend: str | None = None,
) -> None:
    """Make of a gradient's sums what a :class:`kernels.lazy.Pull` takes.

    ``a = weight · rstd``, ``b = -a · rstd · grad_weight / M`` and ``c = -a · grad_bias / M`` with
    ``grad_weight = rstd · Σ g · (x - mean)`` and ``grad_bias = Σ g``.

    Parameters
    ----------
    sums : Sums
        ``Σ g`` and ``Σ g · (x - mean)``, (C,) arrays of float64.
    weight, mean, rstd
        As given to :func:`norm_forward`, or written by it.
    count : int
        M, the values of a channel.
    out : (4, C) array of weight's dtype, C-contiguous
        Is given mean, a, b and c.
    grad_weight, grad_bias : (C,) array of weight's dtype, C-contiguous
        Are given the parameters' gradients.
    backend : str, optional
        Instead of the current backend.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen, C = fused_backend(backend), weight.shape
    check_array("out", out, (4, *C), weight)
    for name, array in (("mean", mean), ("grad_weight", grad_weight), ("grad_bias", grad_bias)):
        check_array(name, array, C, weight)
    for name, array in (("sums.grad", sums.grad), ("sums.grad_x", sums.grad_x), ("rstd", rstd)):
        check_array(name, array, C, WIDE)
    check_written(out=out, grad_weight=grad_weight, grad_bias=grad_bias)
    count = checks.integer("count", count, 1)
    chosen.norm_backward(
        sums, weight, mean, rstd, count, out=out, grad_weight=grad_weight, grad_bias=grad_bias
    )


def norm_track(
    mean: FloatArray,
    rstd: FloatArray,
    eps: float,
    count: int,
    momentum: float,
    *,
    running: Running,
    backend: str | None = None,
) -> None:
    """Move running statistics towards a batch's: see :func:`kernels.lazy.follow`.

    Parameters
    ----------
    mean : (C,) array
        The batch's.
    rstd : (C,) array of mean's dtype or float64
        ``1 / sqrt(var + eps)`` of the batch's biased variance.
    eps, momentum : float
        Added to the variance; weight of this batch, from 0 to 1.
    count : int
        Values of a channel, 2 or more.
    running : Running
        Its arrays, of mean's dtype, are changed in place.
    backend : str, optional
        Instead of the current backend.

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit, or the backend has no fused operations.
    """
    chosen = fused_backend(backend)
    for name, array in (("running.mean", running.mean), ("running.var", running.var)):
        check_array(name, array, mean.shape, mean)
    check_array("rstd", rstd, mean.shape, rstd if rstd.dtype == WIDE.dtype else mean)
    check_array("running.batches", running.batches, (), np.empty(0, np.int64))
    for name, array in (("running.mean", running.mean), ("running.var", running.var)):
        if not array.flags.writeable:
            raise ShapeError(f"{name} must be writeable")
    eps, count = checks.number("eps", eps), checks.integer("count", count, 2)
    momentum = checks.number("momentum", momentum, largest=1.0)
    chosen.norm_track(mean, rstd, eps, count, momentum, running=running)
