"""Fully connected layers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kernels import dispatch
from kernels.backends.contract import FloatArray
from kernels.errors import ShapeError
from kernels.ops import checks
from kernels.ops.repeating import repeatable


class LinearGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of :func:`linear`."""

    grad_x: FloatArray
    grad_weight: FloatArray
    grad_bias: FloatArray


@repeatable
def linear(
    x: FloatArray,
    weight: FloatArray,
    bias: FloatArray | None = None,
    *,
    out: FloatArray | None = None,
    backend: str | None = None,
) -> FloatArray:
    """Affine map of each row: ``y[n, o] = bias[o] + Σ_i x[n, i] · weight[o, i]``.

    Parameters
    ----------
    x : (N, I) array of float32 or float64
        Rows.
    weight : (O, I) array
        One row of weights per output.
    bias : (O,) array, optional
        Added to each output.
    out : (N, O) array, optional
        Where to write the result.
    backend : str, optional
        Instead of the current backend.

    Returns
    -------
    (N, O) array

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit; nothing has been written then.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=2, x=x, weight=weight)
    checks.optional_floats(x, bias=bias)
    N, O = _sizes(x, weight)
    checks.shape("bias", bias, (O,), "weight's first dimension")
    y = checks.result(chosen, out, (N, O), x, x=x, weight=weight, bias=bias)
    chosen.linear(x, weight, bias, out=y)
    return y


@repeatable
def linear_backward(
    grad_y: FloatArray, x: FloatArray, weight: FloatArray, *, backend: str | None = None
) -> LinearGradients:
    """Gradients of :func:`linear`.

    ``grad_x = grad_y @ weight``, ``grad_weight = grad_y.T @ x``, ``grad_bias = Σ_n grad_y[n]``.

    Parameters
    ----------
    grad_y : (N, O) array
        Gradient with respect to the output.
    x, weight, backend
        As given to :func:`linear`.

    Returns
    -------
    LinearGradients
        ``grad_x`` (N, I), ``grad_weight`` (O, I), ``grad_bias`` (O,).

    Raises
    ------
    ShapeError, TypeError, UnknownBackendError
        If an argument does not fit.
    """
    chosen = dispatch.resolve(backend)
    checks.floats(ndim=2, x=x, grad_y=grad_y, weight=weight)
    N, O = _sizes(x, weight)
    checks.shape("grad_y", grad_y, (N, O), "x and weight")
    gradients = LinearGradients(
        checks.new(chosen, x.shape, x.dtype), np.empty(weight.shape, x.dtype), np.empty(O, x.dtype)
    )
    grad_x, grad_weight, grad_bias = gradients
    chosen.linear_backward(
        grad_y, x, weight, grad_x=grad_x, grad_weight=grad_weight, grad_bias=grad_bias
    )
    return gradients


def _sizes(x: FloatArray, weight: FloatArray) -> tuple[int, int]:
    if x.shape[1] < 1:
        raise ShapeError(f"x must have 1 or more columns, got shape {x.shape}")
    if weight.ndim == 2 and weight.shape[0] < 1:
        raise ShapeError(f"weight must have 1 or more rows, got shape {weight.shape}")
    if weight.ndim != 2 or weight.shape[1] != x.shape[1]:
        raise ShapeError(
            f"weight must have shape (O, {x.shape[1]}) to fit x of shape {x.shape}, "
            f"got {weight.shape}"
        )
    return x.shape[0], weight.shape[0]
