"""Wrong arguments raise before anything is written, the same message whatever the backend."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kernels
from kernels import ShapeError

pytestmark = pytest.mark.usefixtures("backend")

X = np.ones((2, 4, 5, 6))
W = np.ones((6, 4, 3, 3))
V = np.ones(4)
F32 = np.float32


def conv(x=X, weight=W, bias=None, **window):
    return kernels.conv2d(x, weight, bias, **window)


def pool(x=X, kernel_size=2, **window):
    return kernels.max_pool2d(x, kernel_size, **window)


WRONG_SHAPES = [
    (lambda: conv(X[0]), "x must have 4 dimensions, got shape (4, 5, 6)"),
    (lambda: conv(weight=W[0]), "weight must have 4 dimensions, got shape (4, 3, 3)"),
    (
        lambda: conv(weight=W[:, :3]),
        "weight must have 4 channels in its second dimension to fit x of shape (2, 4, 5, 6) "
        "in 1 group, got shape (6, 3, 3, 3)",
    ),
    (lambda: conv(bias=np.ones(5)), "bias must have shape (6,) to fit weight's first dimension"),
    (lambda: conv(stride=0), "stride must be 1 or more, got 0"),
    (lambda: conv(stride=(1, 2, 3)), "stride must be an integer or (height, width)"),
    (lambda: conv(padding=-1), "padding must be 0 or more, got -1"),
    (lambda: conv(padding="full"), "padding must be integers or one of 'valid', 'same'"),
    (lambda: conv(padding="same", stride=2), "padding 'same' needs stride 1"),
    (lambda: conv(dilation=0), "dilation must be 1 or more, got 0"),
    (lambda: conv(dilation=3), "the window must fit the padded image: it spans 7 in height"),
    (lambda: conv(groups=0), "groups must be 1 or more, got 0"),
    (lambda: conv(groups=3), "groups must divide the channels of x and weight, 4 and 6; got 3"),
    (lambda: conv(X[:, :0], W[:, :0]), "x and weight need 1 or more channels"),
    (lambda: conv(X[:, :, :0]), "the window must fit the padded image"),
    (lambda: conv(weight=W[:, :, :0]), "the kernel's height must be 1 or more, got 0"),
    (lambda: conv(out=np.ones((2, 6, 3, 3))), "out must have shape (2, 6, 3, 4)"),
    (
        lambda: kernels.conv2d_backward(np.ones((2, 6, 3, 3)), X, W),
        "grad_y must have shape (2, 6, 3, 4) to fit x, weight and the window, got (2, 6, 3, 3)",
    ),
    (
        lambda: kernels.conv2d_backward_input(np.ones((2, 6, 3, 4)), W, (2, 4, 5)),
        "x_shape must have 4 entries, got (2, 4, 5)",
    ),
    (
        lambda: kernels.conv2d_backward_weight(np.ones((2, 6, 3, 4)), X, (6, 4, 3, -3)),
        "weight_shape[3] must be 0 or more, got -3",
    ),
    (lambda: pool(kernel_size=0), "kernel_size must be 1 or more, got 0"),
    (lambda: pool(padding=2), "padding must be smaller than the window, which spans 2 in height"),
    (lambda: pool(kernel_size=7), "the window must fit the padded image: it spans 7 in height"),
    (
        lambda: kernels.max_pool2d(np.ones((1, 1, 1, 9)), 2, padding=2, dilation=(3, 1)),
        "each window must touch the image",
    ),
    (
        lambda: kernels.max_pool2d_backward(X, np.full(X.shape, 30), X.shape),
        "indices must be from 0 to 29 to fit the planes of x_shape, got 30",
    ),
    (
        lambda: kernels.max_pool2d_backward(X, np.full(X.shape, -1), X.shape),
        "indices must be from 0 to 29 to fit the planes of x_shape, got -1",
    ),
    (
        lambda: kernels.max_pool2d_backward(X, np.zeros((2, 4, 5, 5), int), X.shape),
        "indices must have shape (2, 4, 5, 6) to fit grad_y",
    ),
    (
        lambda: kernels.max_pool2d_backward(X, np.zeros(X.shape, int), (2, 3, 5, 6)),
        "grad_y must have 2 images of 3 channels to fit x_shape",
    ),
    (
        lambda: kernels.avg_pool2d(X, 2, divisor_override=0),
        "divisor_override must be an integer other than 0, got 0",
    ),
    (lambda: kernels.avg_pool2d(X, 2, padding=2), "padding must be smaller than the window"),
    (
        lambda: kernels.avg_pool2d_backward(X, X.shape, 2),
        "grad_y must have shape (2, 4, 2, 3) to fit x_shape and the window, got (2, 4, 5, 6)",
    ),
    (
        lambda: kernels.global_avg_pool2d(X[:, :, :0]),
        "x must have 1 or more channels, rows and columns, got (2, 4, 0, 6)",
    ),
    (
        lambda: kernels.global_avg_pool2d_backward(X, X.shape),
        "grad_y must have shape (2, 4, 1, 1) to fit x_shape, got (2, 4, 5, 6)",
    ),
    (lambda: pool(X[:, :0]), "x must have 1 or more channels, rows and columns"),
    (lambda: kernels.batch_norm(X[:, :0], None, None), "x must have 1 or more channels, got shape"),
    (
        lambda: kernels.conv2d_backward(np.ones((2, 6, 3, 4)), X[0], W),
        "x must have 4 dimensions, got shape (4, 5, 6)",
    ),
    (
        lambda: kernels.max_pool2d_backward(
            X[:0], np.zeros((0, 4, 5, 6), int), (0, 4, 2**16, 2**16)
        ),
        "x must have planes of at most 2147483647 elements, got 65536 × 65536",
    ),
    (lambda: conv(stride=2**70), "stride must be at most 2147483647, got 11805916207"),
    (lambda: conv(padding=((1, 2, 3), (0, 1))), "padding must be ((top, bottom), (left, right))"),
    (lambda: conv(padding=2**30), "the result must fit the memory, but it would have shape"),
    (
        lambda: kernels.batch_norm(X, V, V, eps=10**400),
        "eps must be finite and 0 or more, got 1000",
    ),
    (lambda: kernels.linear(np.ones((2, 0)), np.ones((3, 0))), "x must have 1 or more columns"),
    (lambda: kernels.linear(np.ones((2, 3)), np.ones((0, 3))), "weight must have 1 or more rows"),
    (lambda: kernels.batch_norm(X[:, 0, 0, 0], None, None), "x must have 2 or more dimensions"),
    (
        lambda: kernels.batch_norm(X, np.ones(3), None),
        "weight must have shape (4,) to fit the chan",
    ),
    (lambda: kernels.batch_norm(X[:1, :, 0, 0], V, V), "x must have 2 or more values per channel"),
    (lambda: kernels.batch_norm(X[:0], V, V), "x must have 2 or more values per channel"),
    (lambda: kernels.batch_norm(X, V, V, eps=-1), "eps must be finite and 0 or more, got -1"),
    (
        lambda: kernels.batch_norm_backward(X[:1], X, V, V, V),
        "grad_y must have shape (2, 4, 5, 6) to fit x",
    ),
    (
        lambda: kernels.batch_norm_inference(X, V, V, np.ones(3), V),
        "running_mean must have shape (4,) to fit the channels of x",
    ),
    (
        lambda: kernels.linear(X[:, :, 0, 0], np.ones((3, 5))),
        "weight must have shape (O, 4) to fit x of shape (2, 4), got (3, 5)",
    ),
    (
        lambda: kernels.linear_backward(np.ones((2, 2)), np.ones((2, 4)), np.ones((3, 4))),
        "grad_y must have shape (2, 3) to fit x and weight, got (2, 2)",
    ),
    (
        lambda: kernels.relu_backward(V, np.ones(3)),
        "grad_y must have shape (3,) to fit y, got (4,)",
    ),
    (lambda: kernels.softmax(V), "logits must have 2 dimensions, got shape (4,)"),
    (lambda: kernels.softmax(np.ones((2, 0))), "logits must have 1 or more columns"),
    (
        lambda: kernels.softmax_cross_entropy(np.ones((0, 3)), np.zeros(0, int)),
        "logits must have 1 or more rows to take a mean of",
    ),
    (
        lambda: kernels.softmax_cross_entropy(np.ones((2, 3)), np.array([0, 3])),
        "labels must be from 0 to 2 to fit the columns of logits, got 3",
    ),
    (
        lambda: kernels.softmax_cross_entropy(np.ones((2, 3)), np.array([0, -1])),
        "labels must be from 0 to 2 to fit the columns of logits, got -1",
    ),
    (
        lambda: kernels.softmax_cross_entropy(np.ones((2, 3)), np.array([0])),
        "labels must have shape (2,) to fit the rows of logits, got (1,)",
    ),
]

WRONG_TYPES = [
    (lambda: conv(X.tolist()), "x must be a NumPy array of float32 or float64, got list"),
    (lambda: conv(X.astype(int)), "x must be of dtype float32 or float64, got int64"),
    (lambda: conv(X.astype(np.float16)), "x must be of dtype float32 or float64, got float16"),
    (lambda: conv(weight=W.astype(F32)), "weight must have the dtype of x, float64; got float32"),
    (lambda: conv(bias=np.ones(6, F32)), "bias must have the dtype of x, float64; got float32"),
    (lambda: conv(stride=1.5), "stride must be an integer, got 1.5"),
    (lambda: conv(stride=True), "stride must be an integer, got True"),
    (lambda: conv(groups="2"), "groups must be an integer, got '2'"),
    (lambda: conv(out=np.ones((2, 6, 3, 4), F32)), "out must have the dtype of the inputs"),
    (lambda: conv(out=3), "out must be a NumPy array of float64, got int"),
    (lambda: conv(None), "x must be a NumPy array of float32 or float64, got NoneType"),
    (lambda: conv(weight=None), "weight must be a NumPy array of float32 or float64, got NoneType"),
    (lambda: kernels.relu(None), "x must be a NumPy array of float32 or float64, got NoneType"),
    (
        lambda: kernels.batch_norm_inference(X, V, V, None, V),
        "running_mean must be a NumPy array of float32 or float64, got NoneType",
    ),
    (
        lambda: kernels.avg_pool2d(X, 2, count_include_pad=1),
        "count_include_pad must be True or False, got 1",
    ),
    (lambda: pool(ceil_mode=1), "ceil_mode must be True or False, got 1"),
    (
        lambda: kernels.conv2d_backward_input(np.ones((2, 6, 3, 4)), W, 4),
        "x_shape must be a tuple of 4 integers, got 4",
    ),
    (lambda: kernels.batch_norm(X, V, V, eps="1"), "eps must be a number, got '1'"),
    (
        lambda: kernels.max_pool2d_backward(X, X, X.shape),
        "indices must be of an integer dtype, got float64",
    ),
    (
        lambda: kernels.softmax_cross_entropy(np.ones((2, 3)), np.array([True, False])),
        "labels must be of an integer dtype, got bool",
    ),
    (
        lambda: kernels.softmax_cross_entropy(np.ones((2, 3)), [0, 1]),
        "labels must be a NumPy array of integers, got list",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG_SHAPES, ids=[m[:45] for _, m in WRONG_SHAPES])
def test_wrong_shape_size_or_range(call, message):
    with pytest.raises(ShapeError, match="^" + re.escape(message)):
        call()


@pytest.mark.parametrize(("call", "message"), WRONG_TYPES, ids=[m[:45] for _, m in WRONG_TYPES])
def test_wrong_type(call, message):
    with pytest.raises(TypeError, match="^" + re.escape(message)):
        call()


def test_out_that_cannot_be_written_to():
    read_only = np.ones((2, 6, 3, 4))
    read_only.flags.writeable = False
    repeated = np.broadcast_to(np.ones((1, 6, 3, 4)), (2, 6, 3, 4))
    repeated.flags.writeable = True
    for out, message in ((read_only, "writeable"), (repeated, "must not repeat elements")):
        with pytest.raises(ValueError, match=message):
            conv(out=out)


def test_out_that_overlaps_an_input():
    x = np.ones((2, 3))
    for out in (x, x[::-1]):
        with pytest.raises(ValueError, match="out must not share memory with x"):
            kernels.relu(x, out=out)


def test_nothing_is_written_when_an_argument_is_wrong():
    out = np.full(X.shape, 7.0)
    with pytest.raises(ShapeError):
        kernels.max_pool2d_backward(X, np.full(X.shape, 30), X.shape, out=out)
    assert (out == 7.0).all()


@pytest.mark.parametrize("stride", [True, 1.0, (1, True), (1.0, 1), np.float64(1)])
def test_what_equals_a_valid_argument_is_refused_after_it(stride):
    for valid in (1, (1, 1)):
        conv(stride=valid)
        pool(stride=valid)
    for call in (conv, pool):
        with pytest.raises(TypeError, match=r"^stride must be an integer, got"):
            call(stride=stride)


def test_ceil_mode_is_told_from_an_integer_after_it():
    pool(ceil_mode=True)
    with pytest.raises(TypeError, match=r"^ceil_mode must be True or False, got 1"):
        pool(ceil_mode=1)


@pytest.mark.parametrize("dtype", ["int8", "uint8", ">i4", ">u8", "int64"])
def test_labels_of_any_integer_dtype(dtype):
    logits = np.zeros((2, 3))
    kernels.softmax_cross_entropy(logits, np.array([0, 2], dtype))
    for wrong in (3, 100) if "u" in dtype else (3, -1):
        with pytest.raises(ShapeError, match=f"^labels must be from 0 to 2 .* got {wrong}$"):
            kernels.softmax_cross_entropy(logits, np.array([0, wrong], dtype))
