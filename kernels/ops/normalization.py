"""Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) and its gradients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels import dispatch
from kernels.backends.contract import FloatArray
from kernels.errors import ShapeError
from kernels.ops import checks
from kernels.ops.repeating import repeatable


class BatchNormResult(NamedTuple):
    """Normalised values and the statistics that were used, one of each per channel."""

    y: FloatArray
    mean: FloatArray
    rstd: FloatArray


class BatchNormGradients(NamedTuple):
    """Gradients with respect to x, weight (None if the weight was) and bias."""

    grad_x: FloatArray
    grad_weight: FloatArray | None
    grad_bias: FloatArray


@repeatable
def batch_norm(
    x: FloatArray,
    weight: FloatArray | None,
    bias: FloatArray | None,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
) -> BatchNormResult:
    """Normalise each channel by its own mean and variance over the batch (training).

    ``y = weight · (x - mean) · rstd + bias`` with ``rstd = 1 / sqrt(var + eps)`` and the biased
    variance (Algorithm 1 of the paper).

    Parameters
    ----------
    x : (N, C, ...) array of float32 or float64
        Batch; statistics go over all axes but the second, which must hold 2 or more values.
    weight, bias : (C,) array or None
        Scale and shift; 1 and 0 if None.
    eps : float
        Added to the variance.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    BatchNormResult
        ``y`` of x's shape, ``mean`` and ``rstd`` (C,).

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    weight, bias = _parameters(x, weight, bias)
    eps = checks.number("eps", eps)
    _needs_a_batch(x)
    y = checks.new(chosen, x.shape, x.dtype)
    mean, rstd = np.empty_like(weight), np.empty_like(weight)
    chosen.batch_norm(x, weight, bias, eps, out=y, mean=mean, rstd=rstd)
    return BatchNormResult(y, mean, rstd)


@repeatable
def batch_norm_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray | None,
    mean: FloatArray,
    rstd: FloatArray,
    *,
    backend: str | None = None,
) -> BatchNormGradients:
    """Gradients of :func:`batch_norm`, through the batch's mean and variance too.

    With ``x̂ = (x - mean) · rstd`` and M values per channel: ``grad_bias = Σ grad_y``,
    ``grad_weight = Σ grad_y · x̂``, ``grad_x = weight · rstd · (grad_y - grad_bias / M -
    x̂ · grad_weight / M)`` (section 3 of the paper, simplified).

    Parameters
    ----------
    grad_y : (N, C, ...) array
        Gradient with respect to ``y``.
    x, weight
        As given to :func:`batch_norm`.
    mean, rstd : (C,) array
        As it returned them.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    BatchNormGradients
        ``grad_x`` of x's shape, ``grad_weight`` (None if ``weight`` is) and ``grad_bias`` (C,).

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(min_ndim=2, x=x, grad_y=grad_y, mean=mean, rstd=rstd)
    scale, _ = _parameters(x, weight, None)
    checks.shape("grad_y", grad_y, x.shape, "x")
    checks.shape("mean", mean, scale.shape, "the channels of x")
    checks.shape("rstd", rstd, scale.shape, "the channels of x")
    _needs_a_batch(x)
    grad_x = checks.new(chosen, x.shape, x.dtype)
    grad_weight, grad_bias = np.empty_like(scale), np.empty_like(scale)
    chosen.batch_norm_backward(
        grad_y, x, scale, mean, rstd, grad_x=grad_x, grad_weight=grad_weight, grad_bias=grad_bias
    )
    return BatchNormGradients(grad_x, None if weight is None else grad_weight, grad_bias)


@repeatable
def batch_norm_inference(
    x: FloatArray,
    weight: FloatArray | None,
    bias: FloatArray | None,
    running_mean: FloatArray,
    running_var: FloatArray,
    *,
    eps: float = 1e-5,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Normalise each channel by given statistics.

    ``y = weight · (x - running_mean) / sqrt(running_var + eps) + bias``.

    Parameters
    ----------
    x : (N, C, ...) array of float32 or float64
        Batch; may be empty.
    weight, bias : (C,) array or None
        Scale and shift; 1 and 0 if None.
    running_mean, running_var : (C,) array
        Statistics to normalise by.
    eps : float
        Added to the variance.
    out : array of x's shape, optional
        Where to write the result.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    array of x's shape

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    scale, shift = _parameters(x, weight, bias)
    _statistics(x, running_mean, running_var)
    eps = checks.number("eps", eps)
    inputs = dict(x=x, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    y = checks.result(chosen, out, x.shape, x, **inputs)
    chosen.batch_norm_inference(x, scale, shift, running_mean, running_var, eps, out=y)
    return y


@repeatable
def batch_norm_inference_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray | None,
    running_mean: FloatArray,
    running_var: FloatArray,
    *,
    eps: float = 1e-5,
    backend: str | None = None,
) -> BatchNormGradients:
    """Gradients of :func:`batch_norm_inference`; the statistics are constants here.

    With ``rstd = 1 / sqrt(running_var + eps)``: ``grad_x = grad_y · weight · rstd``,
    ``grad_weight = Σ grad_y · (x - running_mean) · rstd``, ``grad_bias = Σ grad_y``.

    Parameters
    ----------
    grad_y : (N, C, ...) array
        Gradient with respect to the output.
    x, weight, running_mean, running_var, eps, backend
        As given to :func:`batch_norm_inference`.

    Returns
    -------
    BatchNormGradients
        ``grad_x`` of x's shape, ``grad_weight`` (None if ``weight`` is) and ``grad_bias`` (C,).

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(min_ndim=2, x=x, grad_y=grad_y)
    scale, _ = _parameters(x, weight, None)
    checks.shape("grad_y", grad_y, x.shape, "x")
    _statistics(x, running_mean, running_var)
    eps = checks.number("eps", eps)
    grad_x = checks.new(chosen, x.shape, x.dtype)
    grad_weight, grad_bias = np.empty_like(scale), np.empty_like(scale)
    chosen.batch_norm_inference_backward(
        grad_y,
        x,
        scale,
        running_mean,
        running_var,
        eps,
        grad_x=grad_x,
        grad_weight=grad_weight,
        grad_bias=grad_bias,
    )
    return BatchNormGradients(grad_x, None if weight is None else grad_weight, grad_bias)


def _parameters(
    x: FloatArray, weight: FloatArray | None, bias: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    checks.floats(min_ndim=2, x=x)
    checks.optional_floats(x, weight=weight, bias=bias)
    C = x.shape[1]
    if C < 1:
        raise ShapeError(f"x must have 1 or more channels, got shape {x.shape}")
    checks.shape("weight", weight, (C,), "the channels of x")
    checks.shape("bias", bias, (C,), "the channels of x")
    return (
        np.ones(C, x.dtype) if weight is None else weight,
        np.zeros(C, x.dtype) if bias is None else bias,
    )


def _statistics(x: FloatArray, running_mean: FloatArray, running_var: FloatArray) -> None:
    checks.floats(x=x, running_mean=running_mean, running_var=running_var)
    checks.shape("running_mean", running_mean, (x.shape[1],), "the channels of x")
    checks.shape("running_var", running_var, (x.shape[1],), "the channels of x")


def _needs_a_batch(x: FloatArray) -> None:
    if x.size // x.shape[1] < 2:
        raise ShapeError(
            f"x must have 2 or more values per channel to take statistics of, got shape {x.shape}"
        )
