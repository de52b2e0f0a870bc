"""A linear layer and its gradients, in blocks that are whole cores' work and fit the caches."""

from __future__ import annotations

import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.dense_backward import run_backward
from kernels.backends.numba.dense_dots import multiply_few
from kernels.backends.numba.dense_panels import multiply_by_panels
from kernels.backends.numba.memory import FlatOutput
from kernels.backends.numba.plan import lanes_of


def linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray) -> None:
    """Take products of rows of x and rows of the weights: by vectors of rows, if they fill one.

    With one row of weights that is exchanged with x.
    """
    start = np.zeros(len(weight), x.dtype) if bias is None else bias
    with FlatOutput(out) as y:
        if len(weight) == 1:
            multiply_few(weight, x, start, y)
        elif len(x) < lanes_of(x.dtype):
            multiply_few(x, weight, start, y)
        else:
            multiply_by_panels(x, weight, start, y)


def linear_backward(
    grad_y: FloatArray,
    x: FloatArray,
    weight: FloatArray,
    *,
    grad_x: FloatArray,
    grad_weight: FloatArray,
    grad_bias: FloatArray,
) -> None:
    """Take ``grad_y @ weight``, ``grad_y.T @ x`` and the sum over rows."""
    run_backward((grad_y, x, weight), (grad_x, grad_weight, grad_bias), ())
