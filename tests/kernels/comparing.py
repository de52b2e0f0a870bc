"""Random arrays, and the one way in which a result is compared with the reference."""

from __future__ import annotations

import numpy as np

import kernels
from kernels import tolerance
from kernels.geometry import Axis, PoolGeometry, output_size


def random(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_within(actual, reference, magnitude, length) -> None:
    assert actual.dtype == reference.dtype
    assert actual.shape == reference.shape
    error = np.abs(actual.astype(np.float64) - reference.astype(np.float64))
    excess = error - tolerance.bound(magnitude, length)
    assert excess.max(initial=-1.0) <= 0.0, f"off by {error.max()} at {np.argmax(excess)}"


def compare_passes(x_shape, weight_shape, dtype: str, **window) -> None:
    """Compare a convolution's passes on the Numba backend with the naive one's."""
    x, weight, bias = random(0, dtype, x_shape, weight_shape, weight_shape[:1])

    def on(backend, function, *arguments):
        return function(*arguments, **window, backend=backend)

    y = on("naive", kernels.conv2d, x, weight, bias)
    (grad_y,) = random(1, dtype, y.shape)
    terms, pixels = weight[0].size, grad_y[:, 0].size
    lengths = (terms + 1, terms * len(weight) // x.shape[1], pixels, pixels)
    arguments = (grad_y, x, weight)
    magnitudes = (
        on("naive", kernels.conv2d, abs(x), abs(weight), abs(bias)),
        *on("naive", kernels.conv2d_backward, *map(abs, arguments)),
    )
    references = (y, *on("naive", kernels.conv2d_backward, *arguments))
    results = (
        on("numba", kernels.conv2d, x, weight, bias),
        *on("numba", kernels.conv2d_backward, *arguments),
    )
    for parts in zip(results, references, magnitudes, lengths, strict=True):
        assert_within(*parts)


def compare_threads(x_shape, weight_shape, **window) -> None:
    """Compare the bits of a convolution's passes on all threads with those on one."""
    x, weight, bias = random(0, "float32", x_shape, weight_shape, weight_shape[:1])

    def passes():
        y = kernels.conv2d(x, weight, bias, **window, backend="numba")
        return y, *kernels.conv2d_backward(y, x, weight, **window, backend="numba")

    many = passes()
    kernels.set_num_threads(1)
    for a, b in zip(many, passes(), strict=True):
        np.testing.assert_array_equal(a, b)


def pool_geometry(N, C, H, W, kernel, stride, dilation=1, before=0, after=0):
    height, width = (
        Axis(
            size,
            kernel,
            stride,
            dilation,
            before,
            after,
            output_size(size, kernel, stride, dilation, before, after),
        )
        for size in (H, W)
    )
    return PoolGeometry(N, C, height, width)
