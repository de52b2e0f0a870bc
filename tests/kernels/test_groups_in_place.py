"""Few channels in each of many groups, read in place: loops of their own, against the reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import kernels
from kernels.backends.numba import depthwise_plan
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.ops import windows
from tests.kernels.comparing import compare_passes, compare_threads, random

LANES = REGISTER_BYTES // 4
HEIGHT, WIDTH = 5, 11

FEW = [(1, 2), (2, 1), (2, 2), (3, 1), (1, 3), (3, 2), (4, 1), (1, 4)]

WINDOWS = [
    dict(kernel=(3, 3), padding="valid"),
    dict(kernel=(3, 3), padding="same_upper", stride=2),
    dict(kernel=(2, 4), padding="same_lower", stride=(1, 3)),
    dict(kernel=(1, 1)),
    dict(kernel=(1, 1), stride=3, padding=1),
    dict(kernel=(3, 3), padding=((0, 2), (3, 1)), dilation=2, stride=(3, 2)),
    dict(kernel=(2, 3), padding=(7, 13), stride=(2, 5)),
    dict(kernel=(3, 2), padding=1, dilation=(2, 1)),
]

PADDINGS = [(0, 0), (1, 1), (2, 2), (0, 2), (2, 0), (0, 1), (3, 0), (0, 3), (5, 4)]

DOWNWARDS = [
    dict(kernel=1, padding=0),
    dict(kernel=2, padding=1),
    dict(kernel=3, padding=2, stride=2),
    dict(kernel=3, padding=4, dilation=3),
]


def fits(channels, out_channels, groups, kernel=3, stride=1):
    weight_shape = (out_channels, channels // groups, kernel, kernel)
    shape = (1, channels, HEIGHT, WIDTH)
    geometry = windows.convolution(shape, weight_shape, stride, 2, 1, groups)
    return depthwise_plan.fits(geometry, LANES)


@pytest.mark.parametrize("groups", [LANES - 1, LANES, 2 * LANES + 3])
@pytest.mark.parametrize(("ins", "outs"), FEW, ids=str)
def test_channels_and_groups(ins, outs, groups, dtype):
    """Groups that fill their vectors and others, through windows that slide."""
    shapes = (2, ins * groups, HEIGHT, WIDTH), (outs * groups, ins, 3, 3)
    compare_passes(*shapes, dtype, padding=1, groups=groups)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize(("ins", "outs"), [(2, 2), (1, 2), (3, 1)], ids=str)
def test_windows(ins, outs, window, dtype):
    groups, kernel = LANES + 1, window["kernel"]
    others = {name: value for name, value in window.items() if name != "kernel"}
    compare_passes(
        (2, ins * groups, HEIGHT, WIDTH),
        (outs * groups, ins, *kernel),
        dtype,
        groups=groups,
        **others,
    )


@pytest.mark.parametrize(("ins", "outs"), [(4, 4), (3, 4)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_windows_of_one_tap_with_more_channels(ins, outs, stride, dtype):
    groups = LANES + 3
    shapes = (2, ins * groups, HEIGHT, WIDTH), (outs * groups, ins, 1, 1)
    compare_passes(*shapes, dtype, groups=groups, stride=stride)


@pytest.mark.parametrize(
    ("W", "padding"),
    [(W, each) for W, each in itertools.product((1, 2, 3, 4, 7), PADDINGS) if W + sum(each) >= 3],
    ids=str,
)
def test_windows_that_slide_along_a_row(W, padding, dtype):
    """Three columns with stride 1: rows as short as the window, which begins or ends outside."""
    groups = LANES + 1
    shapes = (1, 2 * groups, 3, W), (2 * groups, 2, 3, 3)
    compare_passes(*shapes, dtype, groups=groups, padding=((1, 1), padding))


@pytest.mark.parametrize("down", DOWNWARDS, ids=str)
@pytest.mark.parametrize("H", [1, 6])
def test_rows_of_windows_that_slide(down, H, dtype):
    groups, step = LANES + 1, down.get("stride", 1)
    compare_passes(
        (2, groups, H, 5),
        (2 * groups, 1, down["kernel"], 3),
        dtype,
        groups=groups,
        padding=(down["padding"], 1),
        stride=(step, 1),
        dilation=(down.get("dilation", 1), 1),
    )


def test_nothing_is_multiplied_by_weights_outside_the_image():
    """Else infinite weights would make NaN of rows that they do not belong to."""
    groups = LANES + 1
    x, weight = random(0, "float32", (1, 2 * groups, 4, 4), (2 * groups, 2, 3, 3))
    weight[:, :, 0, 1] = np.inf
    y = kernels.conv2d(x, weight, padding=1, groups=groups, backend="numba")
    assert np.isfinite(y[:, :, 0]).all()
    assert not np.isfinite(y[:, :, 1:]).any()


def test_nan_stays_in_its_group():
    groups = LANES + 1
    x, weight = random(0, "float32", (1, 2 * groups, 4, 4), (2 * groups, 2, 3, 3))
    x[:, 5] = np.nan
    y = kernels.conv2d(x, weight, padding=1, groups=groups, backend="numba")
    assert np.isnan(y).any(axis=(0, 2, 3)).nonzero()[0].tolist() == [4, 5]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(5, 31, 20), (40, 7, 7), (1, 41, 300)], ids=str)
def test_bands_blocks_and_partial_results(shape, stride):
    """More rows than a task has, and than the weight gradient takes at once."""
    N, H, W = shape
    groups, window = LANES + 2, dict(padding=1, groups=LANES + 2, stride=stride)
    x, weight = random(0, "float64", (N, 2 * groups, H, W), (2 * groups, 2, 3, 3))
    y, wanted_y = (kernels.conv2d(x, weight, backend=name, **window) for name in ("numba", "numpy"))
    np.testing.assert_allclose(y, wanted_y, rtol=1e-12, atol=1e-12)
    got, wanted = (
        kernels.conv2d_backward(y, x, weight, backend=name, **window) for name in ("numba", "numpy")
    )
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-10)


def test_parts_of_the_groups():
    """A small image: a weight gradient's tasks share the groups out."""
    groups = 6 * LANES + 1
    shapes = (1, 2 * groups, HEIGHT, WIDTH), (groups, 2, 3, 3)
    compare_passes(*shapes, "float64", padding=1, groups=groups)


def test_no_images(dtype):
    groups = 2 * LANES
    compare_passes(
        (0, groups, HEIGHT, WIDTH), (2 * groups, 1, 3, 3), dtype, padding=1, groups=groups
    )


def test_same_bits_with_one_thread_and_with_all():
    compare_threads((3, 2 * LANES, 33, 20), (2 * LANES, 2, 3, 3), padding=1, groups=LANES)


@pytest.mark.parametrize(
    ("channels", "out_channels", "groups", "options", "in_place"),
    [
        (64, 64, 32, {}, True),
        (32, 64, 32, {}, True),
        (64, 64, 32, {"kernel": 5}, False),
        (64, 64, 32, {"kernel": 5, "stride": 2}, True),
        (96, 96, 32, {}, False),
        (96, 96, 32, {"kernel": 1}, True),
        (64, 192, 64, {"kernel": 1}, True),
        (5 * 32, 32, 32, {"kernel": 1}, False),
        (4, 4, 2, {}, False),
        (32, 32, 1, {}, False),
    ],
)
def test_which_convolutions_are_read_in_place(channels, out_channels, groups, options, in_place):
    assert fits(channels, out_channels, groups, **options) is in_place
