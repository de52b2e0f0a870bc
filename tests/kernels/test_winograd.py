"""Winograd's algorithm in the Numba backend: its bound, its choice, its switch."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels import fused, tolerance
from kernels.backends.numba import explaining, plan, plan_at_once, plan_weights, winograd_cost
from kernels.crosscheck import winograd
from kernels.crosscheck.drawing import Draw, tiled_sizes, tiled_window
from kernels.geometry import Axis, ConvGeometry
from kernels.lazy import Pull, Read
from kernels.ops import repeating
from tests.kernels.comparing import assert_within, compare_threads, random

ROOT = Path(__file__).parents[2]
LANES = plan.lanes_of(np.dtype("float32"))

EDGES = [(3, 9), (4, 8), (5, 7), (11, 12), (13, 4)]  # 4k - 1, 4k and 4k + 1 on either axis
PADDINGS = [0, 1, 2, ((1, 2), (0, 3))]
CHANNELS = [(8, 33), (15, 16), (16, 17), (17, 8), (33, 15)]


@pytest.fixture(params=["in tasks", "at once"])
def always(monkeypatch, request):
    """Have Winograd's algorithm chosen wherever it fits, however slow; all tiles at once or not."""
    at_once = request.param == "at once"
    for model in ("gather_cycles", "weight_cycles"):
        monkeypatch.setattr(winograd_cost, model, lambda *sizes: (1.0, 0.0))
        monkeypatch.setattr(winograd_cost, f"{model}_at_once", lambda *sizes: (1.0, 0.0))
    monkeypatch.setattr(winograd_cost, "LEAST_PIXELS", 0)
    monkeypatch.setattr(plan_at_once, "MOST_TILES", 10**6 if at_once else -1)
    monkeypatch.setattr(plan_at_once, "TILE_PRODUCTS", 1e-6)
    monkeypatch.setattr(plan_at_once, "LEAST_PRODUCTS", 0)
    _forget_plans()
    yield
    monkeypatch.undo()
    _forget_plans()


def _forget_plans():
    for planner in (plan.forward_plan, plan.backward_plan, plan_weights.weight_plan):
        planner.cache_clear()
    plan_at_once.forget()
    repeating.forget()


def geometry_of(N, C, O, H, W, padding=1, groups=1):
    pads = np.broadcast_to(np.array(padding), (2, 2)).tolist()
    axes = (Axis(n, 3, 1, 1, *pad, n + sum(pad) - 2) for n, pad in zip((H, W), pads, strict=True))
    return ConvGeometry(N, C, O, groups, *axes)


def plans(geometry, lanes=LANES):
    return [
        plan_at_once.forward_plan(geometry, lanes) or plan.forward_plan(geometry, lanes),
        plan_at_once.backward_plan(geometry, lanes) or plan.backward_plan(geometry, lanes),
        plan_at_once.weight_plan(geometry, lanes) or plan_weights.weight_plan(geometry, lanes),
    ]


def chosen(geometry, lanes=LANES):
    """Return for each pass whether its plan is Winograd's."""
    return [bool(each.shape["winograd"][0]) for each in plans(geometry, lanes)]


def assert_within_bound(x, weight, bias, grad_y, padding, reference="naive"):
    """Compare all passes with the reference by Winograd's own bound, the direct one left out."""
    g = geometry_of(*x.shape[:2], len(weight), *x.shape[2:], padding)
    assert chosen(g, plan.lanes_of(x.dtype)) == [True] * 3
    results, references = (
        (
            kernels.conv2d(x, weight, bias, padding=padding, backend=backend),
            *kernels.conv2d_backward(grad_y, x, weight, padding=padding, backend=backend)[:2],
        )
        for backend in ("numba", reference)
    )
    tiles = g.batch * -(-g.height.outputs // 4) * -(-g.width.outputs // 4)
    sizes = (
        winograd.size_of_output(x, weight, g) + abs(bias).reshape(-1, 1, 1),
        winograd.size_of_input(grad_y, weight, g),
        winograd.size_of_weight(grad_y, x, g),
    )
    for ours, wanted, size, terms in zip(
        results, references, sizes, (g.channels, g.out_channels, tiles), strict=True
    ):
        assert_within(ours, wanted, size.astype(x.dtype), terms + winograd.ROUNDINGS)


def drawn(N, C, O, H, W, padding, dtype):
    y_shape = geometry_of(N, C, O, H, W, padding).y_shape
    return random(0, dtype, (N, C, H, W), (O, C, 3, 3), (O,), y_shape)


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize(("H", "W"), EDGES)
@pytest.mark.parametrize("N", [1, 3])
def test_images_that_do_and_do_not_fill_their_tiles(always, dtype, N, H, W, padding):
    assert_within_bound(*drawn(N, 3, 5, H, W, padding, dtype), padding)


@pytest.mark.parametrize(("C", "O"), CHANNELS)
def test_channels_that_do_and_do_not_fill_their_vectors(always, dtype, C, O):
    assert_within_bound(*drawn(1, C, O, 6, 5, 1, dtype), 1)


def test_an_image_in_several_bands_and_images_in_several_chunks(dtype):
    """Chosen by the model itself; the reference is numpy's, naive would take seconds."""
    for N, H, W in ((1, 67, 70), (9, 13, 18)):
        assert all(chosen(geometry_of(N, 33, 47, H, W)))
        assert_within_bound(*drawn(N, 33, 47, H, W, 1, dtype), 1, reference="numpy")


def test_one_pixel_reaches_the_whole_tile_but_no_other(always):
    """Where the direct bound is 0: errors up to Winograd's in its tile, none elsewhere."""
    x, weight, bias, grad_y = drawn(1, 4, 6, 12, 12, 1, "float32")
    for row, column in itertools.product((4, 5, 6), repeat=2):
        x[...], bias[...] = 0, 0
        x[0, :, row, column] = 1e3
        assert_within_bound(x, weight, bias, grad_y, 1)
        size = winograd.size_of_output(x, weight, geometry_of(*x.shape[:2], 6, 12, 12))
        y = kernels.conv2d(x, weight, padding=1, backend="numba")
        assert (size > 0).sum() > 9 * 6
        assert (y[size == 0] == 0).all()
        assert (size[:, :, 8:, 8:] == 0).all()


@pytest.mark.parametrize("size", [7, 8, 14])
def test_a_biass_gradient_beside_the_weights(size, always):
    """A task's images lie rows of tiles apart, which reach over their ends."""
    g = geometry_of(8, 16, 20, size, size)
    planned = plans(g)[2]
    assert planned.shape[0]["winograd"]
    assert planned.transforms or planned.shape[0]["chunk"] > 1
    x, weight, _, grad_y = drawn(8, 16, 20, size, size, 1, "float32")
    grad_weight, grad_bias = np.empty_like(weight), np.empty(20, "float32")
    fused.conv_backward(
        Pull(grad_y), Read(x), weight, g,
        grad_x=None, grad_weight=grad_weight, grad_bias=grad_bias, backend="numba",
    )  # fmt: skip
    np.testing.assert_allclose(grad_bias, grad_y.sum((0, 2, 3)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_visible_and_within_its_tiles(always, special):
    x, weight, _, grad_y = drawn(2, 5, 6, 12, 12, 1, "float32")
    x[1, 2, 5, 6] = special
    y = kernels.conv2d(x, weight, padding=1, backend="numba")
    direct = kernels.conv2d(x, weight, padding=1, backend="naive")
    assert not np.isfinite(y[~np.isfinite(direct)]).any()
    tile = np.zeros(y.shape, bool)
    tile[1, :, 4:8, 4:8] = True
    assert np.isfinite(y[~tile]).all()
    grad_weight = kernels.conv2d_backward_weight(
        grad_y, x, weight.shape, padding=1, backend="numba"
    )
    assert not np.isfinite(grad_weight[:, 2]).any()
    assert np.isfinite(np.delete(grad_weight, 2, axis=1)).all()


def test_same_bits_with_one_thread_and_with_all(always):
    compare_threads((5, 9, 23, 21), (40, 9, 3, 3), padding=1)


# The bound's own arithmetic


@pytest.mark.parametrize("padding", PADDINGS, ids=str)
@pytest.mark.parametrize(("H", "W"), EDGES)
def test_without_absolute_values_the_size_is_the_convolution(monkeypatch, H, W, padding):
    monkeypatch.setattr(winograd, "abs", lambda array: array, raising=False)
    x, weight, _, grad_y = drawn(2, 6, 4, H, W, padding, "float64")
    g = geometry_of(2, 6, 4, H, W, padding, groups=2)
    settings = {"padding": padding, "groups": 2, "backend": "numpy"}
    y = kernels.conv2d(x, weight[:, :3], **settings)
    grad_x = kernels.conv2d_backward_input(grad_y, weight[:, :3], x.shape, **settings)
    np.testing.assert_allclose(winograd.size_of_output(x, weight[:, :3], g), y, atol=1e-11)
    np.testing.assert_allclose(winograd.size_of_input(grad_y, weight[:, :3], g), grad_x, atol=1e-11)
    x, weight, _, grad_y = drawn(2, 3, 5, H, W, padding, "float64")
    g = geometry_of(2, 3, 5, H, W, padding)
    y = kernels.conv2d(x, weight, padding=padding, backend="numpy")
    grads = kernels.conv2d_backward(grad_y, x, weight, padding=padding, backend="numpy")
    np.testing.assert_allclose(winograd.size_of_output(x, weight, g), y, atol=1e-11)
    np.testing.assert_allclose(winograd.size_of_input(grad_y, weight, g), grads[0], atol=1e-11)
    np.testing.assert_allclose(winograd.size_of_weight(grad_y, x, g), grads[1], atol=1e-11)


def test_the_bound_is_the_larger_of_the_two_where_it_may_be_chosen():
    x, weight, bias, _ = drawn(1, 8, 8, 12, 12, 1, "float32")
    direct = (np.full((1, 8, 12, 12), 1e9, "float32"), 73)
    none = (np.zeros((1, 8, 12, 12), "float32"), 73)
    g = geometry_of(1, 8, 8, 12, 12)
    size, length = winograd.for_output(none, x, weight, bias, g)
    wanted = winograd.size_of_output(x, weight, g) + abs(bias).reshape(-1, 1, 1)
    np.testing.assert_allclose(
        tolerance.bound(size, length), tolerance.bound(wanted.astype("float32"), 28), rtol=1e-6
    )
    assert winograd.for_output(direct, x, weight, bias, g)[0].min() == np.float32(1e9)
    for other in (geometry_of(1, 1, 8, 12, 12), geometry_of(1, 8, 8, 4, 4)):
        assert winograd.for_output(none, x, weight, bias, other) is none


@pytest.mark.parametrize("multiplication", [0.5, 1])
def test_nothing_is_chosen_that_the_cross_check_would_not_allow(multiplication, monkeypatch):
    """Its bound is no looser than it has to be for the other backends, either."""
    monkeypatch.setattr(winograd_cost, "MULTIPLICATION", multiplication)
    _forget_plans()
    narrow = itertools.product((1, 2, 3), (1, 16, 64, 512), (1, 64), (3, 8, 32, 224))
    small = itertools.product((64, 512), (64, 512), (1, 2, 3, 4), (3, 4, 5, 6, 7, 8))
    for lanes in (4, 8, 16):
        for C, O, N, size in itertools.chain(narrow, small):
            for width in (size, size + 1):
                g = geometry_of(N, C, O, size, width)
                for is_chosen, sources in zip(chosen(g, lanes), (C, O, C), strict=True):
                    assert not is_chosen or winograd.allowed(g, sources), (lanes, g)
        for groups, C, O in itertools.product((2, 3, 5), (1, 2, 3, 8), (1, 2, 3, 8)):
            g = geometry_of(32, groups * C, groups * O, 28, 28, groups=groups)
            sizes = (C, g.out_channels), (O, g.channels), (0, 0)
            for is_chosen, (sources, targets) in zip(chosen(g, lanes), sizes, strict=True):
                assert not is_chosen or winograd.allowed(g, sources, targets), (lanes, g)
    monkeypatch.undo()
    _forget_plans()


def test_the_cross_check_draws_what_is_computed_by_winograd():
    passes = []
    for number in range(60):
        draw = Draw(number)
        N, _, C, O = tiled_sizes(draw)
        axes = (tiled_window(draw, N) for _ in range(2))
        height, width = (Axis(w.size, 3, 1, 1, w.before, w.after, w.outputs) for w in axes)
        passes.append(chosen(ConvGeometry(N, C, O, 1, height, width)))
    assert (np.mean(passes, axis=0) > 0.5).all()


# The choice


def test_few_channels_are_computed_directly_and_many_by_winograd():
    assert chosen(geometry_of(32, 3, 3, 28, 28)) == [False] * 3
    assert chosen(geometry_of(32, 128, 128, 28, 28)) == [True] * 3


@pytest.mark.parametrize(("N", "size"), [(1, 16), (1, 28), (8, 14), (32, 28)])
def test_more_channels_never_bring_the_direct_algorithm_back(N, size):
    by_channels = [chosen(geometry_of(N, C, C, size, size)) for C in range(16, 257, 16)]
    for one_pass in zip(*by_channels, strict=True):
        assert list(one_pass) == sorted(one_pass)


@pytest.mark.parametrize("sizes", [(1, 512, 512, 7, 7), (8, 512, 512, 7, 7), (32, 16, 32, 28, 28)])
def test_explain_says_what_is_chosen(sizes):
    g = geometry_of(*sizes)
    for lines, by_winograd in zip(
        explaining.explain(g, np.dtype("float32")).values(), chosen(g), strict=True
    ):
        assert lines[0].startswith("Winograd" if by_winograd else "direct")
        direct, other = (float(w) for w in lines[0].split() if w.replace(".", "").isdigit())
        assert (other < direct) == by_winograd


def test_the_option_switches_it_off(tmp_path):
    """In another process: it is read at import."""
    x, weight, bias, grad_y = drawn(4, 32, 24, 14, 13, 1, "float32")
    g = geometry_of(4, 32, 24, 14, 13)
    assert all(chosen(g))
    np.savez(tmp_path / "arguments.npz", x=x, weight=weight, bias=bias, grad_y=grad_y)
    environment = os.environ | {"CNN_KERNELS_WINOGRAD": "0", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", SWITCHED_OFF, str(tmp_path)],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(process.stdout) == [False] * 3
    with np.load(tmp_path / "results.npz") as results:
        y, grad_x, grad_weight = (results[name] for name in ("y", "grad_x", "grad_weight"))
    pixels = g.batch * g.height.outputs * g.width.outputs
    arguments, sizes = (grad_y, x, weight), (abs(grad_y), abs(x), abs(weight))
    wanted = kernels.conv2d_backward(*arguments, padding=1, backend="numpy")
    size = kernels.conv2d_backward(*sizes, padding=1, backend="numpy")
    assert_within(grad_x, wanted.grad_x, size.grad_x, 9 * 24)
    assert_within(grad_weight, wanted.grad_weight, size.grad_weight, pixels)
    assert_within(
        y,
        kernels.conv2d(x, weight, bias, padding=1, backend="numpy"),
        kernels.conv2d(abs(x), abs(weight), abs(bias), padding=1, backend="numpy"),
        9 * 32 + 1,
    )


SWITCHED_OFF = """
import json, sys
import numpy as np
import kernels
from tests.kernels.test_winograd import chosen, geometry_of

folder = sys.argv[1]
with np.load(folder + "/arguments.npz") as arguments:
    x, weight, bias, grad_y = (arguments[name] for name in ("x", "weight", "bias", "grad_y"))
y = kernels.conv2d(x, weight, bias, padding=1, backend="numba")
grads = kernels.conv2d_backward(grad_y, x, weight, padding=1, backend="numba")
np.savez(folder + "/results.npz", y=y, grad_x=grads.grad_x, grad_weight=grads.grad_weight)
print(json.dumps(chosen(geometry_of(4, 32, 24, 14, 13))))
"""
