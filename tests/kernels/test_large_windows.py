"""Windows about as large as the image: backward, each input pixel has a phase of its own."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels.backends.numba import plan
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.ops import windows
from tests.kernels.comparing import compare_passes, random

LANES = REGISTER_BYTES // 4

# Image, kernel, window, and how many phases backward to the input has: of pixels with taps, where
# the others, zeros, are most.
LARGE = [
    ((5, 5), (5, 5), dict(), 25),
    ((5, 6), (5, 5), dict(), 30),
    ((5, 5), (5, 5), dict(stride=2, padding=((0, 1), (1, 0))), 25),
    ((7, 5), (4, 3), dict(dilation=2), 12),
    ((5, 1), (5, 1), dict(), 5),
    ((4, 6), (2, 6), dict(), 6),
]


def backward_plan(x_shape, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    geometry = windows.convolution(x_shape, weight_shape, stride, padding, dilation, groups)
    return plan.backward_plan(geometry, LANES)


@pytest.mark.parametrize(("size", "kernel", "window", "phases"), LARGE, ids=str)
def test_large_windows(size, kernel, window, phases, dtype):
    shapes = (20, 3, *size), (18, 3, *kernel)
    assert backward_plan(*shapes, **window).phases.size == phases
    compare_passes(*shapes, dtype, **window)


def test_groups_and_large_windows():
    """Lanes are groups, and each pixel has a phase."""
    groups = LANES + 1
    shapes = (20, 2 * groups, 4, 4), (2 * groups, 2, 4, 4)
    chosen = backward_plan(*shapes, groups=groups)
    assert chosen.grouped
    assert chosen.phases.size == 16
    compare_passes(*shapes, "float32", groups=groups)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "phases"), [((9, 9), (3, 3), 1, 1), ((9, 9), (5, 5), 2, 4)]
)
def test_small_windows_have_a_phase_for_each_step_of_the_stride(size, kernel, stride, phases):
    channels = 2 * LANES  # so many that no neighbours share a vector
    shapes = (20, channels, *size), (18, channels, *kernel)
    assert backward_plan(*shapes, stride=stride, padding=1).phases.size == phases


def test_pixels_that_no_window_reaches_get_zeros():
    (weight, grad_y) = random(0, "float64", (18, 3, 3, 3), (60, 18, 1, 1))
    x_shape = (60, 3, 5, 5)
    chosen = backward_plan(x_shape, weight.shape, stride=3)
    assert chosen.cleared
    assert chosen.phases.size == 9
    grad_x = kernels.conv2d_backward_input(grad_y, weight, x_shape, stride=3, backend="numba")
    assert not grad_x[:, :, 3:].any()
    assert not grad_x[:, :, :, 3:].any()
    wanted = np.einsum("no,ochw->nchw", grad_y[:, :, 0, 0], weight)
    np.testing.assert_allclose(grad_x[:, :, :3, :3], wanted, rtol=1e-12, atol=1e-12)
