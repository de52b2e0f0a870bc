"""The oracle itself: against literals worked out by hand, finite differences and adjoints."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from bench.cases import SMALL_CONVOLUTIONS, SMALL_POOLS
from tests.kernels.comparing import random


@pytest.fixture(autouse=True)
def _naive():
    with kernels.use_backend("naive"):
        yield


def test_convolution_by_hand():
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    weight = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    # 0·1 + 1·2 + 3·3 + 4·4 = 27, and so on; the bias adds 10.
    y = kernels.conv2d(x, weight, np.array([10.0]))
    assert y.tolist() == [[[[37.0, 47.0], [67.0, 77.0]]]]


def test_convolution_does_not_flip_the_filter():
    x = np.array([[[[1.0, 0.0, 0.0]]]])
    weight = np.array([[[[5.0, 6.0, 7.0]]]])
    assert kernels.conv2d(x, weight).item() == 5.0


def test_convolution_with_stride_padding_dilation_by_hand():
    x = np.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    weight = np.array([[[[1.0, 10.0]]]])
    window = dict(stride=(1, 2), padding=(0, 1), dilation=(1, 2))
    # Padded row 0 1 2 3 4 5 0; windows start at 0, 2 and 4, taps two apart.
    assert kernels.conv2d(x, weight, **window).ravel().tolist() == [20.0, 42.0, 4.0]


def test_convolution_groups_by_hand():
    x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 4, 1, 1)
    weight = np.array([[1.0, 1.0], [10.0, 100.0]]).reshape(2, 2, 1, 1)
    assert kernels.conv2d(x, weight, groups=2).ravel().tolist() == [3.0, 430.0]


def test_convolution_gradients_by_hand():
    x = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    weight = np.array([4.0, 5.0]).reshape(1, 1, 1, 2)
    grad_y = np.array([10.0, 100.0]).reshape(1, 1, 1, 2)
    gradients = kernels.conv2d_backward(grad_y, x, weight)
    assert gradients.grad_x.ravel().tolist() == [40.0, 450.0, 500.0]
    assert gradients.grad_weight.ravel().tolist() == [210.0, 320.0]
    assert gradients.grad_bias.tolist() == [110.0]


def test_max_pool_by_hand():
    x = np.array([[1.0, 5.0, 2.0], [7.0, 7.0, 0.0], [3.0, 4.0, 9.0]]).reshape(1, 1, 3, 3)
    result = kernels.max_pool2d(x, 2, stride=1)
    assert result.y.ravel().tolist() == [7.0, 7.0, 7.0, 9.0]
    assert result.indices.ravel().tolist() == [3, 4, 3, 8]  # the first of the two sevens
    assert result.indices.dtype == np.int32
    grad = kernels.max_pool2d_backward(
        np.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 1, 2, 2), result.indices, x.shape
    )
    assert grad.ravel().tolist() == [0, 0, 0, 101.0, 10.0, 0, 0, 0, 1000.0]


def test_max_pool_padding_never_wins_and_indices_are_unpadded():
    x = np.array([-3.0, -1.0, -2.0, -4.0]).reshape(1, 1, 2, 2)
    result = kernels.max_pool2d(x, 2, stride=2, padding=1)
    assert result.y.ravel().tolist() == [-3.0, -1.0, -2.0, -4.0]
    assert result.indices.ravel().tolist() == [0, 1, 2, 3]


def test_avg_pool_by_hand():
    x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    assert kernels.avg_pool2d(x, 2, stride=1).ravel().tolist() == [3.0, 4.0, 6.0, 7.0]
    padded = dict(stride=2, padding=1)
    assert kernels.avg_pool2d(x, 2, **padded).ravel().tolist() == [0.25, 1.25, 2.75, 7.0]
    inside = kernels.avg_pool2d(x, 2, **padded, count_include_pad=False)
    assert inside.ravel().tolist() == [1.0, 2.5, 5.5, 7.0]
    divided = kernels.avg_pool2d(x, 2, **padded, divisor_override=2)
    assert divided.ravel().tolist() == [0.5, 2.5, 5.5, 14.0]
    negated = kernels.avg_pool2d(x, 2, **padded, divisor_override=-2)  # PyTorch takes it, too
    assert (negated == -divided).all()


def test_avg_pool_overhang_of_ceil_mode_never_counts():
    x = np.arange(1.0, 4.0).reshape(1, 1, 1, 3)
    assert kernels.avg_pool2d(x, (1, 2), ceil_mode=True).ravel().tolist() == [1.5, 3.0]
    # Windows start at -1, 1 and 3; the last one has one explicit zero and one overhanging place.
    y = kernels.avg_pool2d(x, (1, 3), stride=2, padding=(0, 1), ceil_mode=True)
    assert y.ravel().tolist() == [1.0, 5 / 3]


def test_avg_pool_gradient_by_hand():
    grad_y = np.array([4.0, 8.0]).reshape(1, 1, 1, 2)
    grad_x = kernels.avg_pool2d_backward(grad_y, (1, 1, 1, 3), (1, 2), stride=1)
    assert grad_x.ravel().tolist() == [2.0, 6.0, 4.0]


def test_global_avg_pool_by_hand():
    x = np.arange(8.0).reshape(1, 2, 2, 2)
    assert kernels.global_avg_pool2d(x).ravel().tolist() == [1.5, 5.5]
    grad_x = kernels.global_avg_pool2d_backward(np.full((1, 2, 1, 1), 8.0), (1, 2, 2, 2))
    assert grad_x.ravel().tolist() == [2.0] * 8


def test_log_softmax_by_hand():
    logits = np.log(np.array([[1.0, 3.0]])) + 1000.0
    assert kernels.log_softmax(logits).ravel() == pytest.approx(np.log([0.25, 0.75]))


def test_batch_norm_by_hand():
    x = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 6.0], [7.0, 6.0]])
    y, mean, rstd = kernels.batch_norm(x, np.array([1.0, 2.0]), np.array([0.0, 1.0]), eps=0.0)
    assert mean.tolist() == [4.0, 3.0]
    assert rstd.tolist() == pytest.approx([1 / 5**0.5, 1 / 3])
    assert y[:, 1].tolist() == [-1.0, -1.0, 3.0, 3.0]


def test_batch_norm_reduces_over_images_and_pixels():
    x = np.array([[[[0.0, 2.0]]], [[[4.0, 6.0]]]])
    assert kernels.batch_norm(x, None, None).mean.tolist() == [3.0]


def test_batch_norm_inference_by_hand():
    ones = np.ones(1)
    y = kernels.batch_norm_inference(np.array([[7.0]]), 2 * ones, ones, 3 * ones, 4 * ones, eps=0.0)
    assert y.item() == 5.0


def test_linear_by_hand():
    x, weight = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    assert kernels.linear(x, weight, np.array([0.0, 0.0, 100.0])).tolist() == [[11.0, 17.0, 123.0]]
    gradients = kernels.linear_backward(np.array([[1.0, 10.0, 100.0]]), x, weight)
    assert gradients.grad_x.tolist() == [[753.0, 864.0]]
    assert gradients.grad_weight.tolist() == [[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]
    assert gradients.grad_bias.tolist() == [1.0, 10.0, 100.0]


def test_relu_by_hand():
    x = np.array([-1.0, 0.0, 2.0, np.nan, -np.inf, np.inf])
    np.testing.assert_array_equal(kernels.relu(x), [0.0, 0.0, 2.0, np.nan, 0.0, np.inf])
    grad = kernels.relu_backward(np.full(6, 5.0), kernels.relu(x))
    assert grad.tolist() == [0.0, 0.0, 5.0, 5.0, 0.0, 5.0]


def test_softmax_cross_entropy_by_hand():
    logits = np.log(np.array([[1.0, 3.0], [9.0, 1.0]]))
    assert kernels.softmax(logits).ravel() == pytest.approx([0.25, 0.75, 0.9, 0.1])
    loss, grad = kernels.softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == pytest.approx(-(np.log(0.25) + np.log(0.9)) / 2)
    assert grad.ravel() == pytest.approx([-0.375, 0.375, -0.05, 0.05])


@pytest.mark.parametrize("case", SMALL_CONVOLUTIONS, ids=lambda c: c.id)
def test_convolution_adjoint_identities(case):
    """<conv(x, w), g> = <x, backward_input(g, w)> = <w, backward_weight(g, x)>: it is bilinear."""
    x, weight = random(0, "float64", case.x_shape, case.weight_shape)
    y = kernels.conv2d(x, weight, **case.window)
    (grad_y,) = random(1, "float64", y.shape)
    product = np.vdot(y, grad_y)
    grad_x = kernels.conv2d_backward_input(grad_y, weight, x.shape, **case.window)
    grad_weight = kernels.conv2d_backward_weight(grad_y, x, weight.shape, **case.window)
    assert np.vdot(x, grad_x) == pytest.approx(product, rel=1e-11, abs=1e-11)
    assert np.vdot(weight, grad_weight) == pytest.approx(product, rel=1e-11, abs=1e-11)


def _assert_gradient(function, argument, grad):
    """Compare a gradient with central differences of a scalar function, element by element."""
    step = 1e-6
    for place in np.ndindex(argument.shape):
        above, below = argument.copy(), argument.copy()
        above[place] += step
        below[place] -= step
        slope = (function(above) - function(below)) / (2 * step)
        assert grad[place] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_convolution_gradients_by_finite_differences():
    window = dict(stride=2, padding=1)
    x, weight, bias, grad_y = random(2, "float64", (2, 2, 4, 3), (2, 2, 3, 2), (2,), (2, 2, 2, 2))
    got = kernels.conv2d_backward(grad_y, x, weight, **window)

    def total(x, weight, bias):
        return np.vdot(kernels.conv2d(x, weight, bias, **window), grad_y)

    _assert_gradient(lambda v: total(v, weight, bias), x, got.grad_x)
    _assert_gradient(lambda v: total(x, v, bias), weight, got.grad_weight)
    _assert_gradient(lambda v: total(x, weight, v), bias, got.grad_bias)


@pytest.mark.parametrize("case", SMALL_POOLS, ids=lambda c: c.id)
def test_max_pool_gradient_by_finite_differences(case):
    size = int(np.prod(case.x_shape))
    x = np.random.default_rng(3).permutation(size).astype("float64").reshape(case.x_shape)
    y, indices = kernels.max_pool2d(x, **case.window)
    (grad_y,) = random(4, "float64", y.shape)
    grad_x = kernels.max_pool2d_backward(grad_y, indices, x.shape)
    places = list(np.ndindex(x.shape))[:: max(1, size // 20)]
    for place in places:
        above = x.copy()
        above[place] += 0.25  # values are integers, so the order does not change
        slope = np.vdot(kernels.max_pool2d(above, **case.window).y - y, grad_y) / 0.25
        assert grad_x[place] == pytest.approx(slope, abs=1e-12)


@pytest.mark.parametrize(
    "window",
    [
        dict(kernel_size=2),
        dict(kernel_size=3, stride=2, padding=1),
        dict(kernel_size=3, stride=2, padding=1, count_include_pad=False, ceil_mode=True),
        dict(kernel_size=(2, 1), divisor_override=3),
    ],
    ids=str,
)
def test_avg_pool_adjoint_identity(window):
    (x,) = random(8, "float64", (2, 3, 6, 5))
    y = kernels.avg_pool2d(x, **window)
    (grad_y,) = random(9, "float64", y.shape)
    grad_x = kernels.avg_pool2d_backward(grad_y, x.shape, **window)
    assert np.vdot(x, grad_x) == pytest.approx(np.vdot(y, grad_y), rel=1e-12)


def test_batch_norm_gradients_by_finite_differences():
    x, weight, bias, grad_y = random(5, "float64", (3, 2, 2, 2), (2,), (2,), (3, 2, 2, 2))
    _, mean, rstd = kernels.batch_norm(x, weight, bias)
    got = kernels.batch_norm_backward(grad_y, x, weight, mean, rstd)

    def total(x, weight, bias):
        return np.vdot(kernels.batch_norm(x, weight, bias).y, grad_y)

    _assert_gradient(lambda v: total(v, weight, bias), x, got.grad_x)
    _assert_gradient(lambda v: total(x, v, bias), weight, got.grad_weight)
    _assert_gradient(lambda v: total(x, weight, v), bias, got.grad_bias)


def test_batch_norm_inference_gradients_by_finite_differences():
    x, weight, bias, mean, grad_y = random(6, "float64", (3, 2, 2), (2,), (2,), (2,), (3, 2, 2))
    var = np.array([0.5, 2.0])
    got = kernels.batch_norm_inference_backward(grad_y, x, weight, mean, var)

    def total(x, weight, bias):
        return np.vdot(kernels.batch_norm_inference(x, weight, bias, mean, var), grad_y)

    _assert_gradient(lambda v: total(v, weight, bias), x, got.grad_x)
    _assert_gradient(lambda v: total(x, v, bias), weight, got.grad_weight)
    _assert_gradient(lambda v: total(x, weight, v), bias, got.grad_bias)


def test_cross_entropy_gradient_by_finite_differences():
    (logits,) = random(7, "float64", (3, 4))
    labels = np.array([0, 3, 3])
    _, grad = kernels.softmax_cross_entropy(logits, labels)
    _assert_gradient(lambda v: kernels.softmax_cross_entropy(v, labels).mean_loss, logits, grad)
