"""Batch-norm and its gradients on (M, C) rows, one row per value of a channel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.backends.contract import FloatArray
from kernels.backends.numpy.memory import rows
from kernels.backends.numpy.reduction import sums, sums_of_products

Float64 = NDArray[np.float64]


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
    """Centre on a first mean, whose error the mean of the centred values corrects.

    So nothing cancels in the variance; and what the mean loses when it is rounded to its dtype
    goes into the shift.
    """
    values = rows(x)
    M = len(values)
    rough = (sums(values) / M).astype(x.dtype)
    centred = values - rough
    correction = sums(centred) / M
    var = np.maximum(sums_of_products(centred, centred) / M - np.square(correction), 0.0)
    mean[...] = rough + correction
    rstd[...] = _rstd(var, eps)
    scale = weight * _rstd(var, eps)
    centred *= scale.astype(x.dtype)
    _add(centred, (bias - scale * correction).astype(x.dtype), out)


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
    """``grad_x = a · grad_y + b · (x - mean) + c`` with three numbers for each channel."""
    grad, centred = rows(grad_y), rows(x) - mean
    M = len(grad)
    r = rstd.astype(np.float64)
    grad_sums, products = sums(grad), sums_of_products(grad, centred) * r
    a = weight * r
    centred *= (-a * products * r / M).astype(x.dtype)
    centred += (-a * grad_sums / M).astype(x.dtype)
    _add(grad * a.astype(x.dtype), centred, grad_x)
    grad_weight[...], grad_bias[...] = products, grad_sums


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
    _add(values, bias, out)


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
    grad_weight[...] = sums_of_products(grad, rows(x) - running_mean) * rstd
    grad_bias[...] = sums(grad)
    scale = (weight * rstd).astype(x.dtype)
    np.multiply(np.moveaxis(grad_y, 1, -1), scale, out=np.moveaxis(grad_x, 1, -1))


def _rstd(var: FloatArray, eps: float) -> Float64:
    with np.errstate(divide="ignore", invalid="ignore"):
        rstd: Float64 = 1.0 / np.sqrt(var.astype(np.float64) + eps)
    return rstd


def _add(values: FloatArray, addend: FloatArray, out: FloatArray) -> None:
    """Write ``values + addend``, (M, C) and (M, C) or (C,), into an array (N, C, ...)."""
    target = np.moveaxis(out, 1, -1)
    shape = addend.shape if addend.ndim == 1 else target.shape
    np.add(values.reshape(target.shape), addend.reshape(shape), out=target)
