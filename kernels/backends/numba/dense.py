"""A linear layer and its gradients: matrix products on the micro-kernel, in blocks of C."""

from __future__ import annotations

import numba
import numpy as np

from kernels.backends.contract import FloatArray
from kernels.backends.numba.jit import parallel
from kernels.backends.numba.memory import flat_input
from kernels.backends.numba.reduction import channel_sums
from kernels.backends.numba.table_kernel import multiply_accumulate

BLOCK_ROWS = 32
BLOCK_COLUMNS = 128


def linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, *, out: FloatArray) -> None:
    """Take ``weight @ x.T``: turning x round costs less than turning the weights round."""
    N, O = out.shape
    transposed = np.zeros((O, N), x.dtype)
    _product(weight, np.ascontiguousarray(x.T), transposed)
    np.add(transposed.T, 0 if bias is None else bias, out=out)


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
    grad_x[...] = 0
    _product(grad_y, weight, grad_x)
    grad_weight[...] = 0
    _product(np.ascontiguousarray(grad_y.T), x, grad_weight)
    grad_bias[...] = channel_sums(flat_input(grad_y), grad_y.shape[1])


def _product(a: FloatArray, b: FloatArray, c: FloatArray) -> None:
    """Add ``a @ b`` to C-contiguous ``c``."""
    (M, K), V = a.shape, b.shape[1]
    _multiply(flat_input(a), flat_input(b), c.reshape(-1), np.arange(M) * K, np.arange(K), V)


@parallel
def _multiply(a, b, c, a_rows, a_columns, V):
    M = len(a_rows)
    c_rows = np.arange(M) * V
    down, across = -(-M // BLOCK_ROWS), -(-V // BLOCK_COLUMNS)
    for block in numba.prange(down * across):
        m, v = block // across * BLOCK_ROWS, block % across * BLOCK_COLUMNS
        rows = slice(m, min(m + BLOCK_ROWS, M))
        columns = min(BLOCK_COLUMNS, V - v)
        multiply_accumulate(c, v, c_rows[rows], a, 0, a_rows[rows], a_columns, b, v, V, columns)
