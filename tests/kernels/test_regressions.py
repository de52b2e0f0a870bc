"""What once was wrong: in this project, or in others like it. One test each."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import kernels
from tests.kernels.comparing import assert_within, random

ROOT = Path(__file__).parents[2]


# Mistakes of other projects (../shared/style.md has the list)


def test_pooling_does_not_pad_with_zeros(backend):
    x = np.full((1, 1, 2, 2), -5.0)
    assert (kernels.max_pool2d(x, 3, stride=1, padding=1).y == -5.0).all()


def test_only_one_of_tied_maxima_gets_the_gradient(backend):
    x = np.ones((1, 1, 4, 4))
    y, indices = kernels.max_pool2d(x, 2)
    grad_x = kernels.max_pool2d_backward(np.ones_like(y), indices, x.shape)
    assert grad_x.sum() == 4.0
    assert indices.ravel().tolist() == [0, 2, 8, 10]


def test_backward_of_a_padded_pool_uses_indices_of_the_unpadded_image(backend):
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    y, indices = kernels.max_pool2d(x, 3, stride=2, padding=1)
    grad_x = kernels.max_pool2d_backward(np.ones_like(y), indices, x.shape)
    assert grad_x.ravel().tolist() == [0, 0, 0, 0, 1, 1, 0, 1, 1]


def test_batch_norm_reduces_images_over_all_axes_but_the_channels(backend):
    (x,) = random(0, "float64", (4, 3, 5, 6))
    y = kernels.batch_norm(x, None, None, eps=0.0).y
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=(0, 2, 3)), 1, atol=1e-12)


def test_dilation_is_counted_from_1(backend):
    x, weight = np.arange(5.0).reshape(1, 1, 1, 5), np.ones((1, 1, 1, 2))
    assert kernels.conv2d(x, weight, dilation=1).ravel().tolist() == [1, 3, 5, 7]
    assert kernels.conv2d(x, weight, dilation=2).ravel().tolist() == [2, 4, 6]


# Mistakes of our own


@pytest.mark.parametrize(
    ("x", "weight", "window"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1), dict(stride=(1, 30), padding=(0, 10))),
        ((1, 16, 1, 1), (2, 16, 1, 1), dict(stride=(1, 3000), padding=(0, 1000))),
        (
            (1, 1, 3, 1),
            (1, 1, 1, 3),
            dict(stride=(1, 5), dilation=(1, 8), padding=((0, 0), (1, 15))),
        ),
    ],
)
def test_padding_far_beyond_the_image_stays_in_bounds(backend, x, weight, window):
    """The numba backend cleared more of its scratch buffer than there was."""
    image, filters = random(0, "float32", x, weight)
    y = kernels.conv2d(image, filters, **window)
    wanted = kernels.conv2d(image, filters, **window, backend="naive")
    np.testing.assert_allclose(y, wanted, rtol=1e-5)
    got = kernels.conv2d_backward(y, image, filters, **window)
    wanted = kernels.conv2d_backward(y, image, filters, **window, backend="naive")
    for part, reference in zip(got, wanted, strict=True):
        np.testing.assert_allclose(part, reference, rtol=1e-5, atol=1e-6)


def test_softmax_gives_the_same_bits_each_time(fast_backend):
    """With fastmath's "reassoc" the numba backend chose at run time how to add up a row."""
    x = np.random.default_rng(0).standard_normal((18, 33)) * 30
    wanted = kernels.softmax(x)
    for size in range(3000):
        np.empty(size)  # moves the arrays about in memory
        np.testing.assert_array_equal(kernels.softmax(x.copy()), wanted)


@pytest.mark.compiled
def test_long_float32_sums_of_equal_values_keep_their_digits(fast_backend):
    """Adding one by one, float32 loses 1 % after a million terms."""
    rows = np.full((2**20, 1), 0.1, "float32")
    allowed = float(4 * np.finfo("float32").eps * 2**10)
    exact = 2**20 * float(np.float32(0.1))
    gradients = kernels.linear_backward(rows, rows, np.ones((1, 1), "float32"))
    assert gradients.grad_bias.item() == pytest.approx(exact, rel=allowed)
    mean = kernels.batch_norm(rows, None, None).mean.item()
    assert mean == pytest.approx(float(np.float32(0.1)), rel=allowed)
    plane = rows.reshape(1, 1, 1024, 1024)
    pooled = kernels.global_avg_pool2d(plane).item()
    assert pooled == pytest.approx(float(np.float32(0.1)), rel=allowed)
    bias = kernels.conv2d_backward(plane, plane, np.ones((1, 1, 1, 1), "float32")).grad_bias
    assert bias.item() == pytest.approx(exact, rel=allowed)
    product = kernels.linear(rows.T, rows.T).item()
    assert product == pytest.approx(exact * float(np.float32(0.1)), rel=allowed)


def test_concurrent_callers_get_right_results(fast_backend, monkeypatch):
    """Each thread its own shape; BLAS keeps the number of threads that it had."""
    kernels.relu(np.ones(1))  # loads what the backend needs
    before = _threads_of_libraries()
    wrong = []

    def work(seed: int) -> None:
        x, weight = random(seed, "float32", (2, 3 + seed, 9, 9), (5, 3 + seed, 3, 3))
        wanted = kernels.conv2d(x, weight, backend="naive")
        for _ in range(30):
            got = kernels.conv2d(x, weight, backend=fast_backend)
            if not np.allclose(got, wanted, rtol=1e-4, atol=1e-4):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    monkeypatch.setattr("kernels.threads._limit", 1)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert _threads_of_libraries().items() >= before.items()


def _threads_of_libraries() -> dict[str, int]:
    return {library["filepath"]: library["num_threads"] for library in threadpool_info()}


def test_indices_of_any_integer_dtype(backend):
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    y, indices = kernels.max_pool2d(x, 2)
    wanted = kernels.max_pool2d_backward(y, indices, x.shape)
    for dtype in ("uint64", "int64", "uint8"):
        got = kernels.max_pool2d_backward(y, indices.astype(dtype), x.shape)
        np.testing.assert_array_equal(got, wanted)


def test_huge_float64_values_overflow_quietly_in_the_oracle():
    y = kernels.batch_norm(np.array([[1e200], [-1e200]]), None, None, backend="naive").y
    assert not np.isfinite(y).all() or (y == 0).all()


def test_columns_larger_than_their_buffer(monkeypatch):
    """One row of windows that does not fit gets an array of its own."""
    x, weight = random(0, "float64", (2, 3, 7, 9), (4, 3, 3, 3))
    monkeypatch.setattr("kernels.backends.numpy.convolution.COLUMN_BYTES", 100)
    got = kernels.conv2d(x, weight, padding=1, backend="numpy")
    wanted = kernels.conv2d(x, weight, padding=1, backend="naive")
    magnitude = kernels.conv2d(abs(x), abs(weight), padding=1, backend="naive")
    assert_within(got, wanted, magnitude, weight[0].size)


def test_the_oracle_does_not_drift():
    """0.1 added 1,368 times is off by 3.5e-12: more than a fast backend, which it then refused."""
    grad_y = np.full((2, 1, 684), 0.1)
    one = np.ones(1)
    with kernels.use_backend("naive"):
        found = kernels.batch_norm_inference_backward(grad_y, grad_y, one, 0 * one, one, eps=1e-9)
        trained = kernels.batch_norm_backward(grad_y, grad_y, one, 0 * one, one)
        mean = kernels.batch_norm(grad_y, None, None).mean
    assert found.grad_bias[0] == trained.grad_bias[0] == 136.8
    assert trained.grad_weight[0] == pytest.approx(13.68, rel=3e-16)
    assert mean[0] == 0.1


@pytest.mark.usefixtures("fast_backend")
@pytest.mark.parametrize("C", [16, 17])
@pytest.mark.parametrize("H", [8, 9])
def test_gradients_of_maxima_from_anywhere(C, H):
    """Windows of 2 × 2 side by side in the first image; in others, places outside and twice."""
    (x, grad_y) = random(0, "float32", (4, C, H, H), (4, C, 4, 4))
    indices = np.array(kernels.max_pool2d(x, 2).indices)
    indices[1, C - 1, 3, 3] = 0
    indices[2, 0] = H * H - 1
    indices[3] = np.random.default_rng(0).integers(0, H * H, indices[3].shape)
    got = kernels.max_pool2d_backward(grad_y, indices, x.shape)
    wanted = kernels.max_pool2d_backward(grad_y, indices, x.shape, backend="naive")
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(9,), (5, 9)], ids=str)
def test_results_into_every_second_element_of_a_vector_or_matrix(shape, backend):
    """Only images lie in planes that have to be turned over."""
    out = np.zeros((*shape[:-1], 18), "float32")[..., ::2]
    kernels.relu(np.ones(shape, "float32"), out=out)
    assert (out == 1).all()
