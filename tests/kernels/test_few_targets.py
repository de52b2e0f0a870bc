"""1×1 convolutions to one channel or a few, whose vectors would be mostly empty."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels.backends.numba import choosing
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.ops import windows
from tests.kernels.comparing import compare_passes, compare_threads, random

LANES = REGISTER_BYTES // 4


def geometry(channels, targets, *window):
    shapes = (2, channels, 6, 5), (targets, channels, 1, 1)
    return windows.convolution(*shapes, *(window or (1, 0, 1, 1)))


@pytest.mark.parametrize("channels", [LANES, LANES + 1, 3 * LANES + 5])
@pytest.mark.parametrize("targets", [1, 2, 3])
def test_passes_to_few_channels_and_from_few(channels, targets, dtype):
    for sources, results in ((channels, targets), (targets, channels)):
        compare_passes((3, sources, 9, 7), (results, sources, 1, 1), dtype)


def test_which_are_dot_products():
    float32, float64 = np.dtype("float32"), np.dtype("float64")
    one = geometry(LANES, 1)
    assert choosing.takes_dots(one, LANES, 1, float32)
    assert not choosing.takes_dots(one, 1, LANES, float32)  # backward to the input
    assert choosing.takes_dots(geometry(1, LANES), LANES, 1, float32)
    assert not choosing.takes_dots(geometry(LANES - 1, 1), LANES - 1, 1, float32)
    assert choosing.takes_dots(geometry(LANES - 1, 1), LANES - 1, 1, float64)
    for window in ((2, 0, 1, 1), (1, 1, 1, 1)):
        assert not choosing.takes_dots(geometry(LANES, 1, *window), LANES, 1, float32)


def test_which_weight_gradients_are_taken_with_x_and_grad_y_exchanged():
    float32 = np.dtype("float32")
    exchanged = choosing.exchanged(geometry(4 * LANES, 2), float32)
    assert exchanged == geometry(2, 4 * LANES)
    assert choosing.exchanged(exchanged, float32) is None
    assert choosing.exchanged(geometry(4 * LANES, LANES), float32) is None
    assert choosing.exchanged(geometry(4 * LANES, 2, 2, 0, 1, 1), float32) is None
    grouped = windows.convolution((2, 8, 6, 5), (2, 4, 1, 1), 1, 0, 1, 2)
    assert choosing.exchanged(grouped, float32) is None


@pytest.mark.parametrize("shape", [(1, 40, 1, 1), (2, 40, 1, 1), (40, 1, 1, 1)])
def test_the_same_bits_on_any_number_of_threads(shape):
    compare_threads((8, shape[1], 28, 28), shape)


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 40, 1, 1), (3, 33, 1, 1)])
def test_results_written_to_arrays_of_any_layout_have_the_same_bits(shape):
    x, grad_y, weight = random(0, "float32", (2, shape[1], 6, 5), (2, shape[0], 6, 5), shape)
    gradient = np.empty((shape[0], 2 * shape[1], 1, 1), "float32")[:, ::-2]
    wanted = kernels.conv2d_backward_weight(grad_y, x, shape, backend="numba")
    kernels.conv2d_backward_weight(grad_y, x, shape, backend="numba", out=gradient)
    np.testing.assert_array_equal(gradient, wanted)
    y = np.empty((2, shape[0], 6, 10), "float32")[..., ::2]
    kernels.conv2d(x, weight, backend="numba", out=y)
    np.testing.assert_array_equal(y, kernels.conv2d(x, weight, backend="numba"))


@pytest.mark.parametrize("shape", [(1, 40, 1, 1), (2, 40, 1, 1), (40, 1, 1, 1)])
def test_batches_of_no_image(shape):
    x, y = np.zeros((0, shape[1], 5, 5), "float32"), np.zeros((0, shape[0], 5, 5), "float32")
    weight = np.ones(shape, "float32")
    assert kernels.conv2d(x, weight, backend="numba").shape == y.shape
    grad_x, grad_weight, grad_bias = kernels.conv2d_backward(y, x, weight, backend="numba")
    assert grad_x.shape == x.shape
    assert not grad_weight.any()
    assert not grad_bias.any()


@pytest.mark.parametrize("rows", [1, 2, LANES, 200])
def test_linear_layers_of_one_column(rows, dtype):
    x, weight, bias = random(0, dtype, (rows, 70), (1, 70), (1,))
    for start in (None, bias):
        y = kernels.linear(x, weight, start, backend="numba")
        wanted = x.astype(float) @ weight[0].astype(float) + (
            0 if start is None else float(bias[0])
        )
        np.testing.assert_allclose(y[:, 0], wanted, rtol=0, atol=70 * np.finfo(dtype).eps)


def test_a_row_of_one_column_has_the_same_bits_in_any_batch():
    x, weight, bias = random(0, "float32", (50, 70), (1, 70), (1,))
    y = kernels.linear(x, weight, bias, backend="numba")
    for rows in (1, 3, 20):
        assert np.array_equal(kernels.linear(x[:rows], weight, bias, backend="numba"), y[:rows])


def test_a_linear_layer_of_one_column_and_no_row():
    empty, weight = np.zeros((0, 70), "float32"), np.ones((1, 70), "float32")
    assert kernels.linear(empty, weight, backend="numba").shape == (0, 1)
