"""Convolutions that pool their output: what they take must be what their own output says."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels import dispatch, fused
from kernels.backends.numba import depthwise_plan
from kernels.backends.numba.plan import forward_plan
from kernels.geometry import Axis, ConvGeometry, PoolGeometry, output_size
from kernels.lazy import Pooled, Read
from tests.kernels.comparing import pool_geometry, random

CASES = {  # x, weight, groups, what the pooling takes
    "winograd": ((20, 16, 28, 28), (32, 16, 3, 3), 1, dict(kernel=2, stride=2)),
    "one image": ((1, 16, 28, 28), (32, 16, 3, 3), 1, dict(kernel=2, stride=2)),
    "one image, direct": ((1, 8, 28, 28), (40, 8, 5, 5), 1, dict(kernel=2, stride=2)),
    "bands that end in windows": ((1, 16, 28, 28), (32, 16, 3, 3), 1, dict(kernel=3, stride=3)),
    "channels in parts": ((1, 24, 14, 14), (70, 24, 3, 3), 1, dict(kernel=2, stride=2)),
    "images together": ((40, 3, 7, 9), (17, 3, 3, 3), 1, dict(kernel=2, stride=3)),
    "direct": ((3, 1, 17, 12), (6, 1, 5, 5), 1, dict(kernel=3, stride=4)),
    "in place": ((4, 16, 9, 8), (33, 16, 1, 1), 1, dict(kernel=2, stride=2)),
    "groups": ((2, 16, 10, 10), (24, 2, 3, 3), 8, dict(kernel=2, stride=2)),
    "depthwise": ((1, 20, 30, 10), (20, 1, 3, 3), 20, dict(kernel=4, stride=4)),
    "dilated windows": ((2, 4, 12, 12), (8, 4, 3, 3), 1, dict(kernel=2, stride=4, dilation=3)),
    "windows of one": ((2, 4, 6, 6), (5, 4, 3, 3), 1, dict(kernel=1, stride=2)),
}

fast = pytest.mark.usefixtures("fast_backend")


def conv_geometry(x_shape, weight_shape, groups) -> ConvGeometry:
    N, C, *sizes = x_shape
    O, _, *taps = weight_shape
    axes = (
        Axis(size, k, 1, 1, k // 2, k // 2, output_size(size, k, 1, 1, k // 2, k // 2))
        for size, k in zip(sizes, taps, strict=True)
    )
    return ConvGeometry(N, C, O, groups, *axes)


def pooled_for(geometry: ConvGeometry, window, dtype, weight=None, *, placed=True) -> Pooled:
    pool = pool_geometry(*geometry.y_shape, **window)
    empty = dispatch.resolve(None).empty
    position = empty(pool.y_shape, np.dtype(np.uint8)) if placed else None
    return Pooled(pool, empty(pool.y_shape, np.dtype(dtype)), position, weight)


def mixed_weights(O, dtype):
    """Of batch-norm: positive, negative and 0."""
    return np.resize([0.5, -2.0, 0.0, 3.0, -1e-3], O).astype(dtype)


def taken(y, weight, pool: PoolGeometry):
    """Return by the reference which values batch-norm would make largest, and their taps."""
    sign = np.sign(np.ones(y.shape[1], y.dtype) if weight is None else weight)[:, None, None]
    height, width = pool.height, pool.width
    with kernels.use_backend("naive"):
        _, indices = kernels.max_pool2d(
            y * sign,
            (height.kernel, width.kernel),
            stride=(height.stride, width.stride),
            dilation=(height.dilation, width.dilation),
        )
    rows, columns = np.divmod(indices, width.size)
    rows = (rows - np.arange(height.outputs)[:, None] * height.stride) // height.dilation
    columns = (columns - np.arange(width.outputs) * width.stride) // width.dilation
    flat = indices.reshape(*indices.shape[:2], -1)
    values = np.take_along_axis(y.reshape(*y.shape[:2], -1), flat, axis=2)
    return values.reshape(indices.shape), rows * width.kernel + columns


@fast
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "batch-norm"])
def test_the_largest_behind_batch_norm_is_taken(case, weighted, dtype):
    x_shape, weight_shape, groups, window = case
    geometry = conv_geometry(x_shape, weight_shape, groups)
    x, weight, bias = random(0, dtype, x_shape, weight_shape, weight_shape[:1])
    norm_weight = mixed_weights(len(bias), dtype) if weighted else None
    pooled = pooled_for(geometry, window, dtype, norm_weight)
    y = dispatch.resolve(None).empty(geometry.y_shape, x.dtype)
    arguments = Read(x, relu=weighted), weight, bias, geometry
    moments = fused.conv_forward(*arguments, stats=True, out=y, pooled=pooled)
    values, taps = taken(y, norm_weight, pooled.pool)
    np.testing.assert_array_equal(pooled.values, values)
    np.testing.assert_array_equal(pooled.position, taps)

    alone = np.empty_like(y)
    assert fused.conv_forward(*arguments, stats=False, out=alone) is None
    np.testing.assert_array_equal(y, alone)
    less = pooled_for(geometry, window, dtype, norm_weight, placed=False)
    again = fused.conv_forward(*arguments, stats=True, out=None, pooled=less)
    np.testing.assert_array_equal(less.values, values)
    np.testing.assert_array_equal(again, moments)


def test_the_cases_are_planned_as_they_are_called():
    plans = {name: forward_plan(conv_geometry(*case[:3]), 16) for name, case in CASES.items()}
    for name in ("winograd", "one image", "bands that end in windows"):
        assert plans[name].winograd
    for name in ("one image", "one image, direct", "bands that end in windows"):
        assert plans[name].bands > 1
        assert plans[name].keeps_together(2)
    assert not plans["bands that end in windows"].keeps_together(3)
    assert plans["channels in parts"].parts > 1
    assert plans["images together"].chunk > 1
    assert plans["in place"].in_place
    assert plans["groups"].grouped
    assert depthwise_plan.fits(conv_geometry(*CASES["depthwise"][:3]), 1)


@fast
def test_nan_is_the_largest_value(dtype):
    """Also where batch-norm's weight is 0: 0 times NaN is NaN."""
    x, weight = np.zeros((1, 1, 4, 4), dtype), np.ones((3, 1, 1, 1), dtype)
    x[0, 0, 1, 2] = np.nan
    geometry = conv_geometry(x.shape, weight.shape, 1)
    pooled = pooled_for(geometry, dict(kernel=2, stride=2), dtype, np.array([1, -1, 0], dtype))
    fused.conv_forward(Read(x), weight, None, geometry, stats=False, out=None, pooled=pooled)
    np.testing.assert_array_equal(pooled.values, [[[[0, np.nan], [0, 0]]] * 3])
    assert (pooled.position[0, :, 0, 1] == 2).all()


@fast
def test_values_and_positions_in_any_layout_of_memory():
    shapes = (2, 16, 28, 28), (32, 16, 3, 3)
    geometry = conv_geometry(*shapes, 1)
    x, weight = random(0, "float32", *shapes)
    pooled = pooled_for(geometry, dict(kernel=2, stride=2), "float32")
    found = np.empty(pooled.values.shape, "float32"), np.empty(pooled.values.shape, np.uint8)
    for other in (pooled, pooled._replace(values=found[0], position=found[1])):
        fused.conv_forward(Read(x), weight, None, geometry, stats=False, out=None, pooled=other)
    np.testing.assert_array_equal(found[0], pooled.values)
    np.testing.assert_array_equal(found[1], pooled.position)


def test_the_same_bits_with_any_number_of_threads(monkeypatch):
    shapes = (9, 16, 28, 28), (20, 16, 3, 3)
    geometry = conv_geometry(*shapes, 1)
    x, weight = random(0, "float32", *shapes)
    results = []
    for threads in (1, kernels.get_num_threads()):
        monkeypatch.setattr("kernels.threads._limit", threads)
        norm_weight = mixed_weights(20, "float32")
        pooled = pooled_for(geometry, dict(kernel=2, stride=2), "float32", norm_weight)
        arguments = Read(x), weight, None, geometry
        settings = dict(stats=True, out=None, pooled=pooled, backend="numba")
        moments = fused.conv_forward(*arguments, **settings)
        parts = (*moments, pooled.values, pooled.position)
        results.append([np.ascontiguousarray(part).tobytes() for part in parts])
    assert results[0] == results[1]


def test_what_does_not_fit_is_refused():
    shapes = (2, 3, 8, 8), (4, 3, 3, 3)
    geometry = conv_geometry(*shapes, 1)
    x, weight = random(0, "float64", *shapes)
    pooled = pooled_for(geometry, dict(kernel=2, stride=2), "float64")
    narrow = np.empty(pooled.pool.y_shape, np.float32)
    overlapping = pooled_for(geometry, dict(kernel=3, stride=2), "float64")
    padded = pooled_for(geometry, dict(kernel=2, stride=2, before=1, after=1), "float64")
    smaller = pooled._replace(pool=pool_geometry(2, 4, 6, 8, kernel=2, stride=2))
    for one, message in (
        (None, "out must be an array unless the result is pooled, got None"),
        (overlapping, r"pooled's pool must have windows apart, inside images of \(2, 4, 8, 8\)"),
        (padded, "pooled's pool must have windows apart"),
        (smaller, "pooled's pool must have windows apart, inside images of"),
        (pooled._replace(values=x), r"pooled's values must have shape \(2, 4, 4, 4\), got"),
        (pooled._replace(values=narrow), "pooled's values must be of float64"),
        (pooled._replace(position=narrow), "position must be uint8 of shape"),
        (pooled._replace(weight=x[0, 0, 0]), r"pooled's weight must have shape \(4,\), got \(8,\)"),
    ):
        with pytest.raises((kernels.ShapeError, TypeError), match=message):
            fused.conv_forward(Read(x), weight, None, geometry, stats=False, out=None, pooled=one)
