"""NaN, infinities, denormals and large means, in every backend, with values worked out by hand.

``tests/conformance/test_numerics.py`` compares the same with PyTorch.
"""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from tests.kernels.comparing import random

NAN, INF = np.nan, np.inf

pytestmark = pytest.mark.filterwarnings("ignore:.*(invalid value|overflow|divide by zero)")


def image(*rows):
    return np.array(rows, float)[None, None]


def plane(array):
    return np.asarray(array)[0, 0].tolist()


def assert_equal(actual, wanted):
    np.testing.assert_array_equal(np.asarray(actual), np.asarray(wanted, float))


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_convolution_spreads_it_to_the_windows_over_it_and_no_further(backend, dtype, special):
    """Also where vectors of 4, 8 or 16 channels are cut off, and at the padding."""
    (x, weight) = random(0, dtype, (2, 5, 6, 7), (19, 5, 3, 3))
    x[1, 2, 0, 3] = special
    y = kernels.conv2d(x, abs(weight), padding=1)
    hit = np.zeros(y.shape, bool)
    hit[1, :, :2, 2:5] = True
    assert np.isfinite(y[~hit]).all()
    assert_equal(y[hit], np.full(hit.sum(), special))
    gradients = kernels.conv2d_backward(np.ones_like(y), x, weight, padding=1)
    assert np.isfinite(gradients.grad_x).all()
    assert np.isfinite(gradients.grad_bias).all()
    grad_weight = gradients.grad_weight
    assert np.isfinite(np.delete(grad_weight, 2, axis=1)).all()
    assert_equal(grad_weight[:, 2, :2], np.full((19, 2, 3), special))
    assert np.isfinite(grad_weight[:, 2, 2]).all()  # the last row's taps never meet image row 0


@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_convolution_gradient_spreads_it_likewise(backend, dtype, special):
    """With so many channels that no neighbours share a vector: there it spreads (docs/numba.md)."""
    (grad_y, weight) = random(0, dtype, (2, 19, 6, 7), (19, 17, 3, 3))
    grad_y[1, 18, 0, 3] = special
    grad_x = kernels.conv2d_backward_input(grad_y, abs(weight), (2, 17, 6, 7), padding=1)
    hit = np.zeros(grad_x.shape, bool)
    hit[1, :, :2, 2:5] = True
    assert np.isfinite(grad_x[~hit]).all()
    assert_equal(grad_x[hit], np.full(hit.sum(), special))


def test_infinity_times_zero_is_nan_and_infinities_cancel_to_nan(backend):
    ones = np.ones((1, 1, 1, 2))
    assert_equal(kernels.conv2d(image([INF, -INF]), ones).ravel(), [NAN])
    assert_equal(kernels.conv2d(image([INF, 1]), 0 * ones).ravel(), [NAN])
    assert_equal(kernels.linear([[INF, 1.0]] * np.ones(2), np.zeros((1, 2))), [[NAN]])


def test_max_pool(backend):
    """NaN wins, the last one; -inf beats the padding, and the first of equals wins."""
    x = image([NAN, 1, -INF, -INF], [2, NAN, -INF, -INF], [INF, 3, 4, -INF], [INF, 5, NAN, 6])
    y, indices = kernels.max_pool2d(x, 2)
    assert_equal(y[0, 0], [[NAN, -INF], [INF, NAN]])
    assert plane(indices) == [[5, 2], [8, 14]]
    y, indices = kernels.max_pool2d(image([-INF]), 2, padding=1, stride=2)
    assert (plane(y), plane(indices)) == ([[-INF]], [[0]])
    grad = kernels.max_pool2d_backward(image([NAN, INF]), np.array([[[[3, 0]]]]), (1, 1, 2, 2))
    assert_equal(grad[0, 0], [[INF, 0], [0, NAN]])


def test_avg_pool(backend):
    x = image([NAN, 1, 2, 3], [0, 1, INF, 3], [INF, 1, 2, 3], [-INF, 1, 2, 3])
    assert_equal(kernels.avg_pool2d(x, 2)[0, 0], [[NAN, INF], [NAN, 2.5]])
    assert_equal(kernels.global_avg_pool2d(x).ravel(), [NAN])
    grad = kernels.avg_pool2d_backward(image([NAN, 4.0]), (1, 1, 2, 4), 2)
    assert_equal(grad[0, 0], [[NAN, NAN, 1, 1], [NAN, NAN, 1, 1]])


@pytest.mark.parametrize("special", [NAN, INF])
def test_batch_norm_keeps_it_within_its_channel(backend, dtype, special):
    (x, grad_y) = random(0, dtype, (4, 19, 3, 2), (4, 19, 3, 2))
    x[2, 17, 1, 1] = special
    y, mean, rstd = kernels.batch_norm(x, None, None)
    others = np.delete(np.arange(19), 17)
    assert np.isnan(y[:, 17]).all()
    assert not np.isfinite(mean[17])
    assert not np.isfinite(rstd[17])
    grad_x = kernels.batch_norm_backward(grad_y, x, None, mean, rstd).grad_x
    assert np.isnan(grad_x[:, 17]).all()
    for array in (y[:, others], mean[others], rstd[others], grad_x[:, others]):
        assert np.isfinite(array).all()


def test_batch_norm_inference_keeps_it_within_its_element(backend, dtype):
    """The gradient does not know x."""
    (x, grad_y) = random(0, dtype, (4, 19, 3, 2), (4, 19, 3, 2))
    x[2, 17, 1, 1], x[3, 0, 0, 0] = NAN, -INF
    zeros, ones = np.zeros(19, dtype), np.ones(19, dtype)
    y = kernels.batch_norm_inference(x, ones, zeros, zeros, ones, eps=0.0)
    np.testing.assert_array_equal(y, x)
    gradients = kernels.batch_norm_inference_backward(grad_y, x, ones, zeros, ones, eps=0.0)
    np.testing.assert_array_equal(gradients.grad_x, grad_y)
    assert np.isfinite(gradients.grad_bias).all()
    assert np.isfinite(gradients.grad_weight[1:17]).all()
    assert not np.isfinite(gradients.grad_weight[[0, 17]]).any()


def test_relu(backend, dtype):
    x = np.array([NAN, -INF, INF, -0.0, -1e-45, 1e-45] * 9, dtype)
    y = kernels.relu(x)
    np.testing.assert_array_equal(y, np.array([NAN, 0, INF, 0, 0, 1e-45] * 9, dtype))
    grad_y = np.array([5, NAN, NAN, INF, INF, 7] * 9, dtype)
    wanted = np.array([5, 0, NAN, 0, 0, 7] * 9, dtype)
    np.testing.assert_array_equal(kernels.relu_backward(grad_y, y), wanted)


def test_softmax(backend):
    logits = np.array([[0, NAN, 0], [INF, 0, 0], [-INF, 0, 0], [-INF] * 3, [1e300, 1e300, -1e300]])
    wanted = [[NAN] * 3, [NAN] * 3, [0, 0.5, 0.5], [NAN] * 3, [0.5, 0.5, 0]]
    np.testing.assert_allclose(kernels.softmax(logits), wanted, rtol=1e-15)
    with np.errstate(divide="ignore"):
        wanted = np.log(wanted)
    wanted[4, 2] = -2e300
    np.testing.assert_allclose(kernels.log_softmax(logits), wanted, rtol=1e-15)


@pytest.mark.parametrize(
    ("row", "label", "loss", "grad"),
    [
        ([0, NAN], 0, NAN, [NAN, NAN]),
        ([INF, 0], 0, NAN, [NAN, NAN]),
        ([-INF, 0], 0, INF, [-1, 1]),
        ([-INF, 0], 1, 0, [0, 0]),
        ([1e300, 0], 1, 1e300, [1, -1]),
    ],
)
def test_cross_entropy(backend, row, label, loss, grad):
    result = kernels.softmax_cross_entropy(np.array([row], float), np.array([label]))
    np.testing.assert_allclose(result.mean_loss, loss)
    np.testing.assert_allclose(result.grad_logits, [grad])


def test_batch_norm_of_a_large_mean(backend):
    """Mean 1e4, std 1 in float32: ``E[x²] − m²`` would give variance 0."""
    (x, grad_y) = random(0, "float32", (16, 3, 8, 8), (16, 3, 8, 8))
    x += np.array([1e4, -1e4, 0], "float32")[:, None, None]
    exact, grad = x.astype(float), grad_y.astype(float)
    axes = (0, 2, 3)
    mu, var = exact.mean(axes, keepdims=True), exact.var(axes, keepdims=True)
    wanted_rstd = 1 / np.sqrt(var + 1e-5)
    normal = (exact - mu) * wanted_rstd
    y, mean, rstd = kernels.batch_norm(x, None, None)
    np.testing.assert_allclose(mean, mu.ravel(), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(rstd, wanted_rstd.ravel(), rtol=1e-6)
    np.testing.assert_allclose(y, normal, atol=1e-5)
    inner = grad.mean(axes, keepdims=True) + normal * (grad * normal).mean(axes, keepdims=True)
    grad_x = kernels.batch_norm_backward(grad_y, x, None, mean, rstd).grad_x
    np.testing.assert_allclose(grad_x, wanted_rstd * (grad - inner), atol=1e-4)
    inferred = kernels.batch_norm_inference(x, None, None, mean, 1 / rstd**2 - np.float32(1e-5))
    np.testing.assert_allclose(inferred, y, atol=1e-3)  # mean is rounded: by up to 5e-4


def test_denormals_are_not_flushed_to_zero(backend, dtype):
    """In no thread: the fast backends get enough for several."""
    N = 2 if backend == "naive" else 64
    least = np.finfo(dtype).smallest_subnormal
    x = (least * np.arange(1, N * 3 * 400 + 1)).astype(dtype).reshape(N, 3, 20, 20)
    one = np.ones((1, 1, 1, 1), dtype)
    np.testing.assert_array_equal(kernels.relu(x), x)
    np.testing.assert_array_equal(kernels.relu_backward(x, x), x)
    np.testing.assert_array_equal(kernels.max_pool2d(x, 1).y, x)
    np.testing.assert_array_equal(kernels.avg_pool2d(x, 1), x)
    np.testing.assert_array_equal(kernels.conv2d(x, one.repeat(3, 0), groups=3), x)
    np.testing.assert_array_equal(
        kernels.conv2d_backward_input(x, one.repeat(3, 0), x.shape, groups=3), x
    )
    rows = x.reshape(-1, 4)[:5000]
    np.testing.assert_array_equal(kernels.linear(rows, np.eye(4, dtype=dtype)), rows)


def test_softmax_of_far_logits_is_denormal(backend):
    got = kernels.softmax(np.array([[0, -100]], "float32"))
    assert got[0, 1] == np.float32(np.exp(-100.0)) > 0
