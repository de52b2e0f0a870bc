"""Batch-norm and its gradients on (M, C) rows, one row per value of a channel."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numpy.memory import rows


def batch_norm(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    eps: float,
    *,
    out: FloatArray,
    mean: FloatArray,
    rstd: FloatArray,
) -> None:
    """Take the mean, then the variance of the centred values: nothing cancels.

    What the mean loses when it is rounded to its dtype goes into the variance and the shift.
    """
    values = rows(x)
    mu = values.mean(axis=0, dtype=np.float64)
    mean[...] = mu
    centred = values - mean
    squares = np.square(centred).mean(axis=0, dtype=np.float64)
    var = np.maximum(squares - np.square(mu - mean), 0.0)
    rstd[...] = _rstd(var, eps)
    scale = weight * _rstd(var, eps)
    centred *= scale.astype(x.dtype)
    centred += (bias - scale * (mu - mean)).astype(x.dtype)
    _store(centred, out)


def batch_norm_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    mean: FloatArray,
    rstd: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Take both sums, then ``weight·rstd · (grad_y - (grad_bias + x̂ · grad_weight) / M)``."""
    grad, normalized = rows(grad_y), rows(x) - mean
    normalized *= rstd
    sums = grad.sum(axis=0, dtype=np.float64)
    products = (grad * normalized).sum(axis=0, dtype=np.float64)
    M = grad.shape[0]
    normalized *= (-products / M).astype(x.dtype)
    normalized -= (sums / M).astype(x.dtype)
    normalized += grad
    normalized *= weight * rstd
    _store(normalized, grad_x)
    grad_weight[...], grad_bias[...] = products, sums


def batch_norm_inference(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    running_mean: FloatArray,
    running_var: FloatArray,
    eps: float,
    *,
    out: FloatArray,
) -> None:
    """Centre, scale and shift."""
    values = rows(x) - running_mean
    values *= (weight * _rstd(running_var, eps)).astype(x.dtype)
    values += bias
    _store(values, out)


def batch_norm_inference_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    running_mean: FloatArray,
    running_var: FloatArray,
    eps: float,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Scale; the statistics are constants."""
    grad, rstd = rows(grad_y), _rstd(running_var, eps)
    products = (grad * (rows(x) - running_mean)).sum(axis=0, dtype=np.float64)
    grad_weight[...] = products * rstd
    grad_bias[...] = grad.sum(axis=0, dtype=np.float64)
    _store(grad * (weight * rstd).astype(x.dtype), grad_x)


def _rstd(var: FloatArray, eps: float) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1.0 / np.sqrt(var.astype(np.float64) + eps)


def _store(values: FloatArray, out: FloatArray) -> None:
    """Write (M, C) rows into an array (N, C, ...)."""
    target = np.moveaxis(out, 1, -1)
    target[...] = values.reshape(target.shape)
