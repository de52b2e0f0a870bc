"""Windows that reach over no edge: the source is read where it is, unless it is to be changed."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels import fused
from kernels.backends.numba import plan, plan_weights
from kernels.backends.numba.cpu import REGISTER_BYTES
from kernels.backends.numba.plan_tables import COPIED, IN_PLACE, IN_PLACE_BUT_LAST
from kernels.lazy import Pull, Read
from kernels.ops import windows
from tests.kernels.comparing import compare_passes, random

LANES = REGISTER_BYTES // 4

# Images, weights, window, and whether the gradient is read in place as well, backward to the input.
WITHOUT_EDGES = [
    ((35, 5, 7, 9), (3, 5, 1, 1), dict(), True),
    ((33, 5, 6, 8), (33, 5, 1, 1), dict(stride=2), True),
    ((2, 5, 41, 9), (3, 5, 5, 3), dict(stride=(1, 2)), False),
    ((20, 10, 9, 9), (10, 5, 2, 3), dict(dilation=2, groups=2), False),
    ((1, 40, 24, 20), (3, 40, 1, 1), dict(), True),
]


def plans(x_shape, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    geometry = windows.convolution(x_shape, weight_shape, stride, padding, dilation, groups)
    return plan.forward_plan(geometry, LANES), plan.backward_plan(geometry, LANES)


@pytest.mark.parametrize(("x_shape", "weight_shape", "window", "backward"), WITHOUT_EDGES, ids=str)
def test_windows_that_reach_over_no_edge(x_shape, weight_shape, window, backward, dtype):
    chosen = plans(x_shape, weight_shape, **window)
    assert tuple(one.in_place > 0 for one in chosen) == (True, backward)
    compare_passes(x_shape, weight_shape, dtype, **window)


def test_several_images_and_bands_are_read_in_place():
    (whole, _), (cut, _) = (plans(*shapes, **w) for *shapes, w, _ in WITHOUT_EDGES[1:3])
    assert whole.chunk > 1
    assert cut.bands > 1


@pytest.mark.parametrize(
    ("images", "channels", "size", "where"),
    [
        (35, 2 * LANES, 7, IN_PLACE),
        (2, LANES, 65, IN_PLACE),
        (35, LANES + 1, 7, IN_PLACE_BUT_LAST),
        (2, 3, 65, IN_PLACE_BUT_LAST),
        (35, 1, 3, COPIED),
    ],
    ids=["several-images", "bands", "several-images-part-empty", "bands-part-empty", "tiny"],
)
def test_gradients_that_weight_gradients_read_where_they_are(images, channels, size, where, dtype):
    """Behind the last pixel's channels there may be nothing, where not all vectors are full."""
    shapes = (images, 5, size, size), (channels, 5, 5, 3)
    geometry = windows.convolution(*shapes, 1, 1, 1, 1)
    of_source, of_grad = plan_weights.weight_plan(geometry, LANES).shape
    assert of_grad["in_place"] == where
    assert of_source["chunk" if images > 2 else "bands"] > 1
    compare_passes(*shapes, dtype, padding=1)


@pytest.mark.parametrize("padding", [1, (0, 1), ((0, 1), (0, 0))])
def test_what_is_taken_from_the_padding_is_not_there(padding):
    forward, _ = plans((2, 5, 7, 9), (3, 5, 3, 3), padding=padding)
    assert forward.in_place == 0


def test_windows_of_padding_alone(dtype):
    """No pixel is in a window: there is no phase with taps, of which the rest could be cleared."""
    compare_passes((17, 5, 2, 2), (33, 5, 1, 1), dtype, stride=3, padding=1)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_normalized_while_it_is_read(stride):
    x, weight, grad, read = random(0, "float64", (33, 5, 6, 8), (4, 5, 1, 1), (33, 4, 6, 8), (3, 5))
    grad = np.ascontiguousarray(grad[:, :, ::stride, ::stride])
    geometry = windows.convolution(x.shape, weight.shape, stride, 0, 1, 1)
    mean, scale, shift = read
    y, grad_x, grad_weight = map(np.empty_like, (grad, x, weight))
    normalizing = Read(x, mean, scale, shift, False)
    fused.conv_forward(normalizing, weight, None, geometry, stats=False, out=y)
    a, b, c, middle = random(1, "float64", (4,), (4,), (4,), (4,))
    fused.conv_backward(
        Pull(grad, y, middle, a, b, c), normalizing, weight, geometry,
        grad_x=grad_x, grad_weight=grad_weight, grad_bias=None,
    )  # fmt: skip

    def each(values):
        return values[:, None, None]

    normalized = each(scale) * (x - each(mean)) + each(shift)
    pulled = each(a) * grad + each(b) * (y - each(middle)) + each(c)
    wanted = kernels.conv2d(normalized, weight, stride=stride, backend="naive")
    np.testing.assert_allclose(y, wanted, rtol=1e-11, atol=1e-12)
    wanted = kernels.conv2d_backward(pulled, normalized, weight, stride=stride, backend="naive")
    np.testing.assert_allclose(grad_x, wanted.grad_x, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(grad_weight, wanted.grad_weight, rtol=1e-11, atol=1e-11)
