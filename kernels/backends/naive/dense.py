"""A linear layer and its gradients, index by index."""

from __future__ import annotations

from kernels.backends.contract import FloatArray
from kernels.backends.naive.memory import scalars


def linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray) -> None:
    """``y[n, o] = bias[o] + Σ_i x[n, i] · weight[o, i]``."""
    rows, weights = scalars(x), scalars(weight)
    N, O, I = x.shape[0], *weight.shape
    for n in range(N):
        for o in range(O):
            total = 0.0 if bias is None else float(bias[o])
            for i in range(I):
                total += rows[n, i] * weights[o, i]
            out[n, o] = total


def linear_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """``grad_x = grad_y @ weight``, ``grad_weight = grad_y.T @ x``, ``grad_bias = Σ grad_y``."""
    grad, rows, weights = scalars(grad_y), scalars(x), scalars(weight)
    N, O, I = x.shape[0], *weight.shape
    for n in range(N):
        for i in range(I):
            total = 0.0
            for o in range(O):
                total += grad[n, o] * weights[o, i]
            grad_x[n, i] = total
    for o in range(O):
        for i in range(I):
            total = 0.0
            for n in range(N):
                total += grad[n, o] * rows[n, i]
            grad_weight[o, i] = total
        total = 0.0
        for n in range(N):
            total += grad[n, o]
        grad_bias[o] = total
