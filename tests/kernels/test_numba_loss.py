"""Softmax and cross-entropy of the Numba backend at the edges of their vectors."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels.backends.numba.cpu import REGISTER_BYTES
from tests.kernels.comparing import assert_within, random

LANES = REGISTER_BYTES // 4


@pytest.mark.parametrize("K", [1, LANES - 1, LANES, LANES + 1, 3 * LANES, 1000])
@pytest.mark.parametrize("scale", [1, 80])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_to_the_last_places(K, scale, dtype):
    """Down to the smallest numbers there are, below the smallest normal one."""
    (logits,) = random(0, dtype, (40, K))
    logits *= np.array(scale, dtype)
    exact = logits.astype(np.longdouble)
    exact = np.exp(exact - exact.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    smallest = np.finfo(dtype).smallest_subnormal
    size = exact * (1 + 2 * abs(logits).max(axis=1, keepdims=True)) + smallest / np.finfo(dtype).eps
    got = kernels.softmax(logits, backend="numba")
    assert_within(got, exact.astype(dtype), size.astype(dtype), K)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_of_exact_arguments(dtype):
    """Between 0 and x nothing is rounded before the exponential: a few roundings after it."""
    x = np.linspace(-85, 0, 2001).astype(dtype)
    got = kernels.softmax(np.stack([np.zeros_like(x), x], axis=1), backend="numba")[:, 1]
    power = np.exp(x.astype(np.longdouble))
    np.testing.assert_allclose(got, power / (1 + power), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("K", [2, LANES, LANES + 3])
def test_rows_without_a_finite_maximum(K):
    rows = np.zeros((4, K), np.float32)
    rows[0, -1], rows[1, 0], rows[2, 1], rows[3] = np.nan, np.inf, -np.inf, -np.inf
    for operation in (kernels.softmax, kernels.log_softmax):
        got, wanted = operation(rows, backend="numba"), operation(rows, backend="naive")
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
