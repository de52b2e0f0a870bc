"""Depthwise convolutions have loops of their own in the Numba backend: against the reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import kernels
from kernels.backends.numba import depthwise_kernel, depthwise_plan, depthwise_sliding
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.geometry import Axis, ConvGeometry
from kernels.ops import windows
from tests.kernels.comparing import compare_passes, compare_threads, random

LANES = REGISTER_BYTES // 4
TILE = depthwise_kernel.TILE_VECTORS * LANES
HEIGHT, WIDTH = 5, depthwise_kernel.TILE_PIXELS + 5

# Below, at and above a vector and a tile of vectors.
CHANNELS = sorted({2, 3, 15, 16, 17, 33, LANES - 1, LANES, LANES + 1, TILE, TILE + LANES + 1})

WINDOWS = [
    dict(kernel=(3, 3), padding=1),
    dict(kernel=(3, 3), padding="valid"),
    dict(kernel=(3, 3), padding="same_upper", stride=2),
    dict(kernel=(2, 4), padding="same"),
    dict(kernel=(2, 4), padding="same_lower", stride=(1, 3)),
    dict(kernel=(1, 1), stride=3),
    dict(kernel=(3, 2), padding=2, dilation=(2, 3)),
    dict(kernel=(3, 3), padding=((0, 2), (3, 1)), dilation=2, stride=(3, 2)),
    dict(kernel=(5, 5), padding=2),
    dict(kernel=(HEIGHT, WIDTH), padding=((4, 0), (0, 7))),
    dict(kernel=(2, 3), padding=(7, 13), stride=(2, 5)),
]


PADDINGS = [(0, 0), (1, 1), (2, 2), (0, 2), (2, 0), (0, 1), (3, 0), (0, 3), (5, 4)]

DOWNWARDS = [
    dict(kernel=1, padding=0),
    dict(kernel=2, padding=1),
    dict(kernel=3, padding=1),
    dict(kernel=3, padding=2, stride=2),
    dict(kernel=3, padding=4, dilation=3),
    dict(kernel=4, padding=2),
]


SETTINGS = (("stride", 1), ("padding", 0), ("dilation", 1))


def _compare(N: int, C: int, dtype: str, kernel: tuple[int, int], **window) -> None:
    """Compare all passes with the naive backend's."""
    compare_passes((N, C, HEIGHT, WIDTH), (C, 1, *kernel), dtype, groups=C, **window)


@pytest.mark.parametrize("C", CHANNELS)
def test_channels(C, dtype):
    _compare(2, C, dtype, (3, 3), padding=1)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("C", [3, TILE + 1])
def test_windows(window, C, dtype):
    _compare(1, C, dtype, **window)


@pytest.mark.parametrize(
    ("W", "padding"),
    [(W, each) for W, each in itertools.product((1, 2, 3, 4, 7), PADDINGS) if W + sum(each) >= 3],
    ids=str,
)
def test_windows_that_slide_along_a_row(W, padding, dtype):
    """Three columns with stride 1: rows as short as the window, which begins or ends outside."""
    C = depthwise_sliding.VECTORS * LANES + 1
    compare_passes((1, C, 3, W), (C, 1, 3, 3), dtype, groups=C, padding=((1, 1), padding))


@pytest.mark.parametrize("down", DOWNWARDS, ids=str)
@pytest.mark.parametrize("H", [1, 6])
def test_rows_of_windows_that_slide(down, H, dtype):
    C, step = 3, down.get("stride", 1)
    compare_passes(
        (2, C, H, 5),
        (C, 1, down["kernel"], 3),
        dtype,
        groups=C,
        padding=(down["padding"], 1),
        stride=(step, 1),
        dilation=(down.get("dilation", 1), 1),
    )


@pytest.mark.parametrize(
    ("W", "padding"),
    [(W, each) for W, each in itertools.product((1, 2, 3, 4, 7), PADDINGS) if W + sum(each) >= 3],
    ids=str,
)
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [2, 3])
def test_windows_that_move_by_two_or_three_columns(kernel, stride, W, padding, dtype):
    """Rows that begin and end anywhere in a window, in whole vectors and in one that is not."""
    C = depthwise_sliding.VECTORS * LANES + 1
    window = dict(groups=C, padding=((1, 1), padding), stride=(2, stride))
    compare_passes((2, C, 4, W), (C, 1, 3, kernel), dtype, **window)


@pytest.mark.parametrize("down", DOWNWARDS, ids=str)
@pytest.mark.parametrize("H", [1, 6])
def test_rows_of_windows_that_move_by_two_columns(down, H, dtype):
    C, across = 2 * depthwise_sliding.VECTORS * LANES, dict(stride=2, padding=1, dilation=1)
    window = {name: (down.get(name, 1), value) for name, value in across.items()}
    compare_passes((2, C, H, 5), (C, 1, down["kernel"], 3), dtype, groups=C, **window)


@pytest.mark.parametrize(
    ("kernel", "window", "wanted"),
    [
        (3, dict(stride=2, padding=1), (depthwise_plan.GATHERS, depthwise_plan.SCATTERS)),
        (1, dict(stride=3), (depthwise_plan.NOT, depthwise_plan.SCATTERS)),
        (3, dict(stride=2, padding=2), (depthwise_plan.NOT, depthwise_plan.SCATTERS)),
        (3, dict(stride=2, dilation=2), (depthwise_plan.NOT, depthwise_plan.NOT)),
        (5, dict(stride=2, padding=2), (depthwise_plan.NOT, depthwise_plan.NOT)),
        (3, dict(padding=1), (depthwise_plan.SLIDES, depthwise_plan.SLIDES)),
    ],
    ids=str,
)
def test_how_windows_go_along_a_row(kernel, window, wanted):
    setting = (window.get(name, default) for name, default in SETTINGS)
    geometry = windows.convolution((1, 5, 9, 9), (5, 1, kernel, kernel), *setting, 5)
    plans = depthwise_plan.forward_plan, depthwise_plan.backward_plan
    assert tuple(plan(geometry, LANES).sliding for plan in plans) == wanted


@pytest.mark.parametrize("stride", [1, 2])
def test_nothing_is_multiplied_by_weights_outside_the_image(stride):
    """Else infinite weights would make NaN of rows that they do not belong to."""
    C = depthwise_sliding.VECTORS * LANES + 1
    x, weight = random(0, "float32", (1, C, 4, 4), (C, 1, 3, 3))
    weight[:, :, 0, 1] = np.inf
    y = kernels.conv2d(x, weight, padding=1, stride=stride, groups=C, backend="numba")
    assert np.isfinite(y[:, :, 0]).all()
    assert not np.isfinite(y[:, :, 1:]).any()


@pytest.mark.parametrize(
    "shape", [(5, 3, 31, 20), (40, 2 * TILE + 3, 7, 7), (2, 5 * TILE + LANES, 16, 16)], ids=str
)
@pytest.mark.parametrize("stride", [1, 2])
def test_parts_of_pixels_and_of_channels(shape, stride):
    """Gradients of weights: many pixels make partial results, few parts of the channels."""
    C, window = shape[1], dict(groups=shape[1], padding=1, stride=stride)
    x, weight = random(0, "float64", shape, (C, 1, 3, 3))
    y = kernels.conv2d(x, weight, backend="numpy", **window)
    got, wanted = (
        kernels.conv2d_backward_weight(y, x, weight.shape, backend=name, **window)
        for name in ("numba", "numpy")
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


def test_a_window_too_large_for_rectangles():
    """Its table would have a billion entries."""
    C, H, W = 3, 13, 300
    x, g = random(0, "float64", (1, C, H, W), (1, C, H, W + 1))
    got, wanted = (
        kernels.conv2d_backward_weight(
            g, x, (C, 1, 13, W), padding=(6, 150), groups=C, backend=name
        )
        for name in ("numba", "numpy")
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


def test_no_images(dtype):
    _compare(0, 5, dtype, (3, 3), padding=1)


@pytest.mark.parametrize("H", [1, 40, 41])
def test_bands_and_blocks_of_rows(H):
    """More rows than a task has, and than the weight gradient copies at once."""
    C, W = 3, 300
    x, weight = random(0, "float64", (1, C, H, W), (C, 1, 3, 3))
    window = dict(padding=1, groups=C)
    for stride in (1, 2):
        y, wanted_y = (
            kernels.conv2d(x, weight, stride=stride, backend=name, **window)
            for name in ("numba", "numpy")
        )
        np.testing.assert_allclose(y, wanted_y, rtol=1e-12, atol=1e-12)
        got, wanted = (
            kernels.conv2d_backward(y, x, weight, stride=stride, backend=name, **window)
            for name in ("numba", "numpy")
        )
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


def test_same_bits_with_one_thread_and_with_all():
    compare_threads((3, 24, 33, 20), (24, 1, 3, 3), padding=1, groups=24)


@pytest.mark.parametrize(
    ("channels", "out_channels", "groups", "fits"),
    [(8, 8, 8, True), (8, 8, 4, False), (1, 1, 1, False), (2, 2, 2, True)],
)
def test_which_convolutions_take_this_path(channels, out_channels, groups, fits):
    axis = Axis(5, 3, 1, 1, 1, 1, 5)
    geometry = ConvGeometry(1, channels, out_channels, groups, axis, axis)
    assert depthwise_plan.fits(geometry, LANES) is fits
