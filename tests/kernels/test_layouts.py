"""Any memory layout goes in, results go where the caller says, inputs stay as they were."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from tests.kernels.comparing import random

pytestmark = pytest.mark.usefixtures("backend")


def channels_last(a):
    if a.ndim < 3:
        return a
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def every_second(a):
    filler = np.nan if a.dtype.kind == "f" else 99
    spread = np.full([2 * n for n in a.shape], filler, a.dtype)
    view = spread[tuple(slice(None, None, 2) for _ in a.shape)]
    view[...] = a
    return view


def reversed_memory(a):
    flipped = np.flip(a).copy()
    return np.flip(flipped)


def fortran(a):
    return np.asfortranarray(a)


def read_only(a):
    locked = a.copy()
    locked.flags.writeable = False
    return locked


LAYOUTS = [channels_last, every_second, reversed_memory, fortran, read_only]

IMAGE, FILTERS = (2, 3, 5, 4), (4, 3, 3, 2)


def _operations():
    x, weight, bias, grad = random(0, "float64", IMAGE, FILTERS, (4,), (2, 4, 5, 3))
    rows, matrix, vector, grad_rows = random(1, "float64", (3, 5), (4, 5), (4,), (3, 4))
    per_channel = random(2, "float64", (3,), (3,), (3,))
    pooled = kernels.max_pool2d(x, 2, backend="naive")
    conv = dict(padding=(1, 0))
    labels = np.array([0, 3, 1])
    return {
        "conv2d": (kernels.conv2d, (x, weight, bias), conv),
        "conv2d_backward": (kernels.conv2d_backward, (grad, x, weight), conv),
        "max_pool2d": (lambda a: kernels.max_pool2d(a, 2), (x,), {}),
        "max_pool2d_backward": (
            lambda g, i: kernels.max_pool2d_backward(g, i, IMAGE),
            (pooled.y, pooled.indices),
            {},
        ),
        "avg_pool2d": (lambda a: kernels.avg_pool2d(a, 2, padding=1), (x,), {}),
        "avg_pool2d_backward": (
            lambda g: kernels.avg_pool2d_backward(g, IMAGE, 2),
            (pooled.y,),
            {},
        ),
        "global_avg_pool2d": (kernels.global_avg_pool2d, (x,), {}),
        "log_softmax": (kernels.log_softmax, (grad_rows,), {}),
        "batch_norm": (kernels.batch_norm, (x, *per_channel[:2]), {}),
        "batch_norm_backward": (kernels.batch_norm_backward, (x[::-1], x, *per_channel), {}),
        "batch_norm_inference": (
            kernels.batch_norm_inference,
            (x, *per_channel, per_channel[0] ** 2),
            {},
        ),
        "batch_norm_inference_backward": (
            kernels.batch_norm_inference_backward,
            (x[::-1], x, *per_channel[:2], per_channel[0] ** 2),
            {},
        ),
        "linear": (kernels.linear, (rows, matrix, vector), {}),
        "linear_backward": (kernels.linear_backward, (grad_rows, rows, matrix), {}),
        "relu": (kernels.relu, (x,), {}),
        "relu_backward": (kernels.relu_backward, (x[::-1], x), {}),
        "softmax": (kernels.softmax, (grad_rows,), {}),
        "softmax_cross_entropy": (kernels.softmax_cross_entropy, (grad_rows, labels), {}),
    }


OPERATIONS = _operations()


def _parts(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", OPERATIONS)
def test_layout_of_inputs_does_not_matter(name, layout):
    operation, arguments, keywords = OPERATIONS[name]
    plain = operation(*(np.ascontiguousarray(a) for a in arguments), **keywords)
    laid_out = [layout(np.ascontiguousarray(a)) for a in arguments]
    before = [a.copy() for a in laid_out]
    for got, wanted in zip(_parts(operation(*laid_out, **keywords)), _parts(plain), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    for array, copy in zip(laid_out, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("layout", [channels_last, every_second, reversed_memory, fortran])
def test_out_takes_any_layout(layout):
    x, weight, grad = random(0, "float64", IMAGE, FILTERS, (2, 4, 3, 3))
    per_channel = abs(random(2, "float64", (3,))[0])
    rows, matrix = random(1, "float64", (3, 5), (4, 5))
    pooled = kernels.max_pool2d(x, 2)
    calls = [
        lambda out=None: kernels.conv2d(x, weight, out=out),
        lambda out=None: kernels.conv2d_backward_input(grad, weight, IMAGE, out=out),
        lambda out=None: kernels.conv2d_backward_weight(grad, x, FILTERS, out=out),
        lambda out=None: kernels.max_pool2d_backward(pooled.y, pooled.indices, IMAGE, out=out),
        lambda out=None: kernels.batch_norm_inference(
            x, per_channel, per_channel, per_channel, per_channel, out=out
        ),
        lambda out=None: kernels.linear(rows, matrix, out=out),
        lambda out=None: kernels.relu(x, out=out),
        lambda out=None: kernels.relu_backward(x, x, out=out),
    ]
    for call in calls:
        wanted = call()
        out = layout(np.full(wanted.shape, np.nan))
        assert call(out) is out
        np.testing.assert_allclose(out, wanted, rtol=1e-12, atol=1e-12)
