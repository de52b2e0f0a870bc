"""A linear layer and its gradients: three matrix products."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numpy.blas import matmul
from kernels.backends.numpy.reduction import sums


def linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray) -> None:
    """Write ``x @ weight.T + bias``."""
    np.add(matmul(x, weight.T), 0 if bias is None else bias, out=out)


def linear_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Write ``grad_y @ weight``, ``grad_y.T @ x`` and the sum over rows."""
    grad_x[...] = matmul(grad_y, weight)
    grad_weight[...] = matmul(grad_y.T, x)
    grad_bias[...] = sums(grad_y)
