"""A linear layer and its gradients by ``numpy.einsum``."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray


def linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray) -> None:
    """Write ``Σ_i x[n, i] · weight[o, i] + bias[o]``."""
    np.einsum("ni,oi->no", x, weight, out=out)
    if bias is not None:
        out += bias


def linear_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Write the three sums of products."""
    np.einsum("no,oi->ni", grad_y, weight, out=grad_x)
    np.einsum("no,ni->oi", grad_y, x, out=grad_weight)
    np.einsum("no->o", grad_y, out=grad_bias)
