"""Every other backend against the naive reference, on the shared table of cases."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from bench.cases import BATCH_NORM_SHAPES, LINEAR_SIZES, SMALL_CONVOLUTIONS, SMALL_POOLS
from tests.kernels.comparing import assert_within, random

pytestmark = pytest.mark.usefixtures("fast_backend")

by_id = {"ids": lambda case: case.id}


def naive(function, *arguments, **keywords):
    return function(*arguments, **keywords, backend="naive")


@pytest.mark.parametrize("case", SMALL_CONVOLUTIONS, **by_id)
def test_convolution(case, dtype):
    x, weight, bias = random(0, dtype, case.x_shape, case.weight_shape, (case.O,))
    y = kernels.conv2d(x, weight, bias, **case.window)
    magnitude = naive(kernels.conv2d, abs(x), abs(weight), abs(bias), **case.window)
    reference = naive(kernels.conv2d, x, weight, bias, **case.window)
    assert_within(y, reference, magnitude, weight[0].size + 1)


@pytest.mark.parametrize("case", SMALL_CONVOLUTIONS, **by_id)
def test_convolution_backward(case, dtype):
    x, weight = random(0, dtype, case.x_shape, case.weight_shape)
    grad_y = random(1, dtype, naive(kernels.conv2d, x, weight, **case.window).shape)[0]
    got = kernels.conv2d_backward(grad_y, x, weight, **case.window)
    reference = naive(kernels.conv2d_backward, grad_y, x, weight, **case.window)
    magnitude = naive(kernels.conv2d_backward, abs(grad_y), abs(x), abs(weight), **case.window)
    pixels = grad_y[:, 0].size
    lengths = (case.O // case.groups * case.KH * case.KW, pixels, pixels)
    for parts in zip(got, reference, magnitude, lengths, strict=True):
        assert_within(*parts)
    assert got.grad_weight.flags.c_contiguous


@pytest.mark.parametrize("case", SMALL_CONVOLUTIONS, **by_id)
def test_convolution_backward_parts_equal_the_whole(case):
    x, weight = random(0, "float64", case.x_shape, case.weight_shape)
    grad_y = random(1, "float64", kernels.conv2d(x, weight, **case.window).shape)[0]
    whole = kernels.conv2d_backward(grad_y, x, weight, **case.window)
    grad_x = kernels.conv2d_backward_input(grad_y, weight, x.shape, **case.window)
    grad_weight = kernels.conv2d_backward_weight(grad_y, x, weight.shape, **case.window)
    np.testing.assert_array_equal(grad_x, whole.grad_x)
    np.testing.assert_array_equal(grad_weight, whole.grad_weight)


@pytest.mark.parametrize("case", SMALL_POOLS, **by_id)
@pytest.mark.parametrize("values", ["random", "ties", "nan-and-infinity"])
def test_max_pool(case, dtype, values):
    (x,) = random(0, dtype, case.x_shape)
    if values == "ties":
        x = np.sign(x)
    elif values == "nan-and-infinity":
        x[x > 0.7] = np.nan
        x[x < 0] = -np.inf
    got, reference = (
        kernels.max_pool2d(x, **case.window),
        naive(kernels.max_pool2d, x, **case.window),
    )
    np.testing.assert_array_equal(got.y, reference.y)
    np.testing.assert_array_equal(got.indices, reference.indices)
    assert got.indices.dtype == np.int32


@pytest.mark.parametrize("case", SMALL_POOLS, **by_id)
def test_max_pool_backward(case, dtype):
    (x,) = random(0, dtype, case.x_shape)
    y, indices = naive(kernels.max_pool2d, x, **case.window)
    (grad_y,) = random(1, dtype, y.shape)
    got = kernels.max_pool2d_backward(grad_y, indices, x.shape)
    reference = naive(kernels.max_pool2d_backward, grad_y, indices, x.shape)
    magnitude = naive(kernels.max_pool2d_backward, abs(grad_y), indices, x.shape)
    windows = np.prod(np.broadcast_to(case.kernel_size, 2))
    assert_within(got, reference, magnitude, int(windows))


@pytest.mark.parametrize("shape", BATCH_NORM_SHAPES, ids=str)
@pytest.mark.parametrize("mean", [0.0, 1e4])
def test_batch_norm(shape, dtype, mean):
    x, weight, bias = random(0, dtype, shape, (shape[1],), (shape[1],))
    x += np.array(mean, dtype)
    got = kernels.batch_norm(x, weight, bias)
    reference = naive(kernels.batch_norm, x, weight, bias)
    per_channel = (1, -1) + (1,) * (len(shape) - 2)
    scale = abs(weight * reference.rstd).reshape(per_channel)
    # In float32 a large mean must not cost digits; in float64 the reference has none to spare.
    centre = reference.mean.reshape(per_channel)
    terms = abs(x - centre) + 1 / reference.rstd.reshape(per_channel)
    if dtype == "float64":
        terms += abs(centre)
    magnitude = scale * terms + abs(bias).reshape(per_channel)
    length = x.size // shape[1]
    assert_within(got.y, reference.y, magnitude, length)
    assert_within(got.mean, reference.mean, np.full_like(reference.mean, abs(x).max()), length)
    np.testing.assert_allclose(got.rstd, reference.rstd, rtol=1e-3 if dtype == "float32" else 1e-8)


@pytest.mark.parametrize("shape", BATCH_NORM_SHAPES, ids=str)
def test_batch_norm_backward(shape, dtype):
    x, grad_y, weight = random(0, dtype, shape, shape, (shape[1],))
    _, mean, rstd = naive(kernels.batch_norm, x, weight, None)
    got = kernels.batch_norm_backward(grad_y, x, weight, mean, rstd)
    reference = naive(kernels.batch_norm_backward, grad_y, x, weight, mean, rstd)
    per_channel = (1, -1) + (1,) * (len(shape) - 2)
    normalized = (abs(x) + abs(mean.reshape(per_channel))) * rstd.reshape(per_channel)
    axes = (0, *range(2, len(shape)))
    sums = abs(grad_y).sum(axis=axes), (abs(grad_y) * normalized).sum(axis=axes)
    length = x.size // shape[1]
    spread = (
        abs(grad_y)
        + (sums[0].reshape(per_channel) + normalized * sums[1].reshape(per_channel)) / length
    )
    magnitude = abs(weight * rstd).reshape(per_channel) * spread
    assert_within(got.grad_x, reference.grad_x, magnitude.astype(dtype), length)
    assert_within(got.grad_weight, reference.grad_weight, sums[1].astype(dtype), length)
    assert_within(got.grad_bias, reference.grad_bias, sums[0].astype(dtype), length)


@pytest.mark.parametrize("shape", [*BATCH_NORM_SHAPES, (0, 3, 2, 2)], ids=str)
def test_batch_norm_inference(shape, dtype):
    C = shape[1]
    x, grad_y, weight, bias, mean, var = random(0, dtype, shape, shape, *[(C,)] * 4)
    var = var**2
    got = kernels.batch_norm_inference(x, weight, bias, mean, var)
    reference = naive(kernels.batch_norm_inference, x, weight, bias, mean, var)
    magnitude = naive(kernels.batch_norm_inference, abs(x), abs(weight), abs(bias), -abs(mean), var)
    assert_within(got, reference, magnitude, 4)
    backward = kernels.batch_norm_inference_backward
    absolute = naive(backward, abs(grad_y), abs(x), abs(weight), -abs(mean), var)
    lengths = (4, x.size // C, x.size // C)
    for parts in zip(
        backward(grad_y, x, weight, mean, var),
        naive(backward, grad_y, x, weight, mean, var),
        absolute,
        lengths,
        strict=True,
    ):
        assert_within(*parts)


@pytest.mark.parametrize("sizes", LINEAR_SIZES, ids=str)
def test_linear(sizes, dtype):
    N, I, O = sizes
    x, weight, bias, grad_y = random(0, dtype, (N, I), (O, I), (O,), (N, O))
    y = kernels.linear(x, weight, bias)
    magnitude = naive(kernels.linear, abs(x), abs(weight), abs(bias))
    assert_within(y, naive(kernels.linear, x, weight, bias), magnitude, I + 1)
    for parts in zip(
        kernels.linear_backward(grad_y, x, weight),
        naive(kernels.linear_backward, grad_y, x, weight),
        naive(kernels.linear_backward, abs(grad_y), abs(x), abs(weight)),
        (O, N, N),
        strict=True,
    ):
        assert_within(*parts)


@pytest.mark.parametrize("shape", [(), (1,), (37,), (3, 5), (2, 17, 3, 5), (0, 4)], ids=str)
def test_relu(shape, dtype):
    x, grad_y = random(0, dtype, shape, shape)
    x = np.where(abs(x) < 0.3, np.nan, x)
    np.testing.assert_array_equal(kernels.relu(x), naive(kernels.relu, x))
    np.testing.assert_array_equal(
        kernels.relu_backward(grad_y, x), naive(kernels.relu_backward, grad_y, x)
    )


@pytest.mark.parametrize("shape", [(1, 1), (5, 10), (3, 33), (0, 4)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_softmax(shape, dtype, scale):
    (logits,) = random(0, dtype, shape)
    logits *= np.array(scale, dtype)
    got, reference = kernels.softmax(logits), naive(kernels.softmax, logits)
    assert_within(got, reference, reference + reference * abs(logits), shape[1])


@pytest.mark.parametrize("label_dtype", ["uint8", "int64", "int32"])
def test_softmax_cross_entropy(dtype, label_dtype):
    (logits,) = random(0, dtype, (7, 10))
    labels = np.array([0, 9, 3, 3, 5, 1, 2], label_dtype)
    got = kernels.softmax_cross_entropy(logits, labels)
    reference = naive(kernels.softmax_cross_entropy, logits, labels)
    eps = float(np.finfo(dtype).eps)
    assert isinstance(got.mean_loss, float)
    assert got.mean_loss == pytest.approx(reference.mean_loss, rel=16 * eps)
    np.testing.assert_allclose(got.grad_logits, reference.grad_logits, atol=4 * eps, rtol=0)


def test_softmax_of_nan_and_infinity(dtype):
    logits = np.array([[np.nan, 0.0], [np.inf, 0.0], [-np.inf, 0.0]], dtype)
    np.testing.assert_array_equal(kernels.softmax(logits), naive(kernels.softmax, logits))


def test_batch_norm_of_nan_stays_in_its_channel(dtype):
    (x,) = random(0, dtype, (4, 3, 2, 2))
    x[1, 1, 0, 0] = np.nan
    y, mean, rstd = kernels.batch_norm(x, None, None)
    assert np.isnan(mean).tolist() == [False, True, False]
    assert np.isnan(rstd).tolist() == [False, True, False]
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(y[:, [0, 2]]).all()
