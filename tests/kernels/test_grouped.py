"""Few channels in each of many groups, copied: vectors that reach across groups.

Without batch-norm or a mask to be applied as they are loaded, most are read in place, see
``test_groups_in_place``: here none are.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import kernels
from kernels.backends.numba import depthwise_plan, plan, plan_weights
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.ops import windows
from tests.kernels.comparing import compare_passes, compare_threads, random

LANES = REGISTER_BYTES // 4
HEIGHT, WIDTH = 5, 7

FEW = [(1, 2), (2, 1), (2, 2), (3, 1), (1, 3), (4, 3), (4, 4)]

WINDOWS = [
    dict(kernel=(3, 3), padding="valid"),
    dict(kernel=(3, 3), padding="same_upper", stride=2),
    dict(kernel=(2, 4), padding="same_lower", stride=(1, 3)),
    dict(kernel=(1, 1), stride=3),
    dict(kernel=(3, 3), padding=((0, 2), (3, 1)), dilation=2, stride=(3, 2)),
    dict(kernel=(HEIGHT, WIDTH), padding=((4, 0), (0, 7))),
    dict(kernel=(2, 3), padding=(7, 13), stride=(2, 5)),
]


@pytest.fixture(autouse=True)
def nothing_in_place(monkeypatch):
    """Have sources copied, whatever their number of channels."""
    monkeypatch.setattr(depthwise_plan, "fits", lambda geometry, lanes: False)


def plans(in_group, out_group, groups):
    shape = (1, in_group * groups, HEIGHT, WIDTH)
    weight_shape = (out_group * groups, in_group, 3, 3)
    geometry = windows.convolution(shape, weight_shape, 1, 1, 1, groups)
    return (
        plan.forward_plan(geometry, LANES),
        plan.backward_plan(geometry, LANES),
        plan_weights.weight_plan(geometry, LANES),
    )


@pytest.mark.parametrize("groups", [7, LANES - 1, LANES, LANES + 1, 2 * LANES + 3])
@pytest.mark.parametrize(("in_group", "out_group"), FEW, ids=str)
def test_channels_and_groups(in_group, out_group, groups, dtype):
    assert all(p.grouped == -(-groups // LANES) for p in plans(in_group, out_group, groups))
    shapes = (2, in_group * groups, HEIGHT, WIDTH), (out_group * groups, in_group, 3, 3)
    compare_passes(*shapes, dtype, padding=1, groups=groups)


@pytest.fixture
def however_small(monkeypatch):
    """Have groups joined however little there is to do."""

    def forget_plans():
        plan.forward_plan.cache_clear()
        plan.backward_plan.cache_clear()

    monkeypatch.setattr(plan, "LEAST_SHARED", 0)
    forget_plans()
    yield
    monkeypatch.undo()
    forget_plans()


def test_few_multiply_adds_are_not_worth_weights_of_zero():
    """And NaN stays in its group, and with its pixels."""
    assert [one.joined for one in plans(2, 2, 2)[:2]] == [1, 1]
    assert [one.neighbours for one in plans(4, 2, 1)[:1]] == [1]


JOINED = [
    (3, 2, 1),
    (1, 6, 1),
    (2, 2, 2),
    (4, 2, 2),
    (1, 2, 2),
    (2, 1, 2),
    (1, 1, 2),
    (3, 3, 5),
    (5, 8, 2),
]


@pytest.mark.parametrize(("in_group", "out_group", "groups"), JOINED)
@pytest.mark.parametrize("window", [{}, {"stride": 2}, {"dilation": 2}], ids=str)
@pytest.mark.usefixtures("however_small")
def test_joined_groups(in_group, out_group, groups, window, dtype):
    """A vector has the channels of all groups, with weights of zero between them."""
    forward, backward, _ = plans(in_group, out_group, groups)
    assert forward.joined == (groups if out_group * groups <= LANES else 1)
    assert backward.joined == (groups if in_group * groups <= LANES else 1)
    shapes = (2, in_group * groups, HEIGHT, WIDTH), (out_group * groups, in_group, 3, 3)
    compare_passes(*shapes, dtype, groups=groups, padding=(1, 2), **window)


@pytest.mark.compiled
def test_groups_are_not_joined_without_winograds_algorithm():
    """The switch of what spreads NaN: here from one group to another."""
    code = """
import kernels, numpy as np
x, weight = np.ones((4, 4, 32, 32), "float32"), np.ones((4, 2, 3, 3), "float32")
x[:, :2] = np.nan
y = kernels.conv2d(x, weight, groups=2, backend="numba")
print(np.isnan(y).any(axis=(0, 2, 3)))
"""
    for switch, wanted in (("0", "[ True  True False False]"), ("1", "[ True  True  True  True]")):
        environment = {**os.environ, "CNN_KERNELS_WINOGRAD": switch}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == wanted


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_windows(window, dtype):
    groups, kernel = LANES + 1, window["kernel"]
    others = {name: value for name, value in window.items() if name != "kernel"}
    shapes = (1, 2 * groups, HEIGHT, WIDTH), (3 * groups, 2, *kernel)
    compare_passes(*shapes, dtype, groups=groups, **others)


def test_no_images(dtype):
    compare_passes((0, 10, HEIGHT, WIDTH), (20, 1, 3, 3), dtype, padding=1, groups=10)


@pytest.mark.parametrize(
    ("in_group", "out_group", "groups"),
    [(1, 5, 16), (5, 1, 16), (8, 8, 8), (2, 2, 2), (4, 4, 4), (1, 1, 1)],
)
def test_convolutions_whose_vectors_would_not_be_filled(in_group, out_group, groups):
    assert not any(p.grouped for p in plans(in_group, out_group, groups))


def test_bands_and_images_together():
    """A band's last rows, and a task's last images, are fewer."""
    groups = LANES + 2
    for N, size in ((1, 41), (35, 7)):
        shapes = (N, 2 * groups, size, size), (2 * groups, 2, 3, 3)
        geometry = windows.convolution(*shapes, 1, 1, 1, groups)
        chosen = plan.forward_plan(geometry, LANES)
        assert chosen.grouped
        assert size % chosen.band_rows or N % chosen.chunk
        x, weight = random(0, "float64", *shapes)
        window = dict(padding=1, groups=groups)
        y, wanted_y = (
            kernels.conv2d(x, weight, backend=name, **window) for name in ("numba", "numpy")
        )
        np.testing.assert_allclose(y, wanted_y, rtol=1e-12, atol=1e-12)
        got, wanted = (
            kernels.conv2d_backward(y, x, weight, backend=name, **window)
            for name in ("numba", "numpy")
        )
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-10)


def test_same_bits_with_one_thread_and_with_all():
    compare_threads((3, 48, 33, 20), (48, 2, 3, 3), padding=1, groups=24)
