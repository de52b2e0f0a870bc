"""A call that comes again gives what it would give if it had never come before."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

import kernels
from kernels.backends.numba import addresses, tables
from kernels.ops.repeating import MOST, TIMES
from tests.kernels.comparing import random

OFTEN = TIMES + 2


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


CALLS = {
    "conv2d": lambda x, w: kernels.conv2d(x, w, padding=1),
    "conv2d_backward_input": lambda x, w: kernels.conv2d_backward_input(
        kernels.conv2d(x, w, padding=1), w, x.shape, padding=1
    ),
    "conv2d_backward_weight": lambda x, w: kernels.conv2d_backward_weight(
        kernels.conv2d(x, w, padding=1), x, w.shape, padding=1
    ),
    "max_pool2d": lambda x, w: kernels.max_pool2d(x, 2),
    "max_pool2d_backward": lambda x, w: kernels.max_pool2d_backward(
        *(x[:, :, ::2, ::2].copy(), kernels.max_pool2d(x, 2).indices, x.shape)
    ),
    "avg_pool2d": lambda x, w: kernels.avg_pool2d(x, 2),
    "global_avg_pool2d": lambda x, w: kernels.global_avg_pool2d(x),
    "batch_norm": lambda x, w: kernels.batch_norm(x, None, w[0, :, 0, 0].copy()),
    "relu": lambda x, w: kernels.relu(x),
    "relu_backward": lambda x, w: kernels.relu_backward(x, x),
    "linear": lambda x, w: kernels.linear(x[:, :, 0, 0], w[:, :, 0, 0]),
    "linear_backward": lambda x, w: kernels.linear_backward(
        x[:, 0, 0].copy(), x[:, 0, 1].copy(), w[:1, 0, 0, :1].repeat(9, 0).repeat(8, 1)[:8]
    ),
    "softmax": lambda x, w: kernels.softmax(x[:, :, 0, 0].copy()),
}


def parts(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_on_other_arrays(call, layout):
    """Each call on arrays of its own, results kept: none may be another's memory."""
    arrays = [random(seed, "float32", (2, 3, 8, 8), (4, 3, 3, 3)) for seed in range(OFTEN)]
    with kernels.use_backend("numba"):
        results = [parts(call(layout(x), w)) for x, w in arrays]
    with kernels.use_backend("numpy"):
        for (x, w), got in zip(arrays, results, strict=True):
            for value, wanted in zip(got, parts(call(x, w)), strict=True):
                np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(stride=True),
        dict(stride=1.0),
        dict(padding=(1, True)),
        dict(groups=1.0),
        dict(backend="none"),
        dict(out=np.empty((2, 4, 7, 8), "float32")),
        dict(bias=np.ones(5, "float32")),
        dict(bias=np.ones(4)),
    ],
)
def test_arguments_that_equal_others_are_refused_as_ever(wrong):
    x, w = random(0, "float32", (2, 3, 8, 8), (4, 3, 3, 3))
    bias = np.ones(4, "float32")
    right = dict(stride=1, padding=(1, 1), groups=1, backend="numba", bias=bias)
    for _ in range(OFTEN):
        kernels.conv2d(x, w, **right)
    with pytest.raises((TypeError, ValueError)):
        kernels.conv2d(x, w, **(right | wrong))


@pytest.mark.parametrize("wrong", [-1, 64])
def test_indices_are_looked_at_each_time(wrong):
    grad_y, x = random(0, "float32", (2, 3, 4, 4), (2, 3, 8, 8))
    indices = kernels.max_pool2d(x, 2, backend="numba").indices
    for _ in range(OFTEN):
        kernels.max_pool2d_backward(grad_y, indices, x.shape, backend="numba")
    indices[1, 2, 3, 3] = wrong
    with pytest.raises(kernels.ShapeError, match=f"indices .* got {wrong}"):
        kernels.max_pool2d_backward(grad_y, indices, x.shape, backend="numba")


def test_the_same_array_twice_and_read_only():
    x, y = random(0, "float32", (4, 5), (4, 5))
    y.flags.writeable = False
    for _ in range(OFTEN):
        both = kernels.relu_backward(x, x, backend="numba")
        apart = kernels.relu_backward(x, y, backend="numba")
    np.testing.assert_array_equal(both, np.where(x > 0, x, 0))
    np.testing.assert_array_equal(apart, np.where(y > 0, x, 0))


def test_an_array_with_gaps_between_others_without():
    x, w = random(0, "float32", (2, 3, 8, 8), (4, 3, 3, 3))
    wide = np.repeat(x, 2, axis=3)[..., ::2]
    wanted = kernels.conv2d(x, w, backend="numpy")
    for _ in range(OFTEN):
        for images in (x, wide):
            got = kernels.conv2d(images, w, backend="numba")
            np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_where_array_objects_are_not_as_expected_calls_are_made_as_ever(monkeypatch):
    assert addresses.says_where()
    monkeypatch.setattr(addresses, "DATA", addresses.DATA + 8)  # how many axes there are
    assert not addresses.says_where()
    monkeypatch.setattr(tables.OnOthers, "__call__", lambda *_: pytest.fail("was repeated"))
    for seed in range(OFTEN):
        (x,) = random(seed, "float32", (3, 7))
        np.testing.assert_array_equal(kernels.relu(x, backend="numba"), np.maximum(x, 0))


@pytest.mark.parametrize("setting", [np.array, lambda n: (np.array(n), np.array(n))])
def test_an_array_that_stands_for_a_number_is_looked_at_each_time(setting):
    x, w = random(0, "float32", (2, 3, 8, 8), (4, 3, 3, 3))
    for stride in (*(1,) * OFTEN, 2):
        got = kernels.conv2d(x, w, stride=setting(stride), backend="numba")
        np.testing.assert_array_equal(got, kernels.conv2d(x, w, stride=stride, backend="numba"))


def test_a_list_is_no_key_but_an_argument():
    x, w = random(0, "float32", (2, 3, 8, 8), (4, 3, 3, 3))
    wanted = kernels.conv2d(x, w, stride=2, backend="numba")
    for _ in range(OFTEN):
        got = kernels.conv2d(x, w, stride=[2, 2], backend="numba")
        np.testing.assert_array_equal(got, wanted)


def test_more_calls_than_are_known():
    for _ in range(OFTEN):
        for width in range(1, MOST + 10):
            (x,) = random(width, "float32", (2, width))
            np.testing.assert_array_equal(kernels.relu(x, backend="numba"), np.maximum(x, 0))


@pytest.mark.compiled
def test_calls_share_the_memory_that_they_work_in():
    """Each of these transforms weights to 9 MB or more."""
    tracemalloc.start()
    try:
        for channels in range(256, 266):
            x, w = random(0, "float32", (1, 256, 8, 8), (channels, 256, 3, 3))
            for _ in range(OFTEN):
                kernels.conv2d(x, w, padding=1, backend="numba")
        assert tracemalloc.get_traced_memory()[0] < 50e6
    finally:
        tracemalloc.stop()


def test_threads_have_their_own_memory():
    """Batch-norm works in memory besides its results."""
    batches = [random(seed, "float32", (64, 8))[0] for seed in range(2)]
    wanted = [kernels.batch_norm(x, None, None, backend="numba") for x in batches]
    wrong = []

    def again(number):
        for _ in range(300):
            got = kernels.batch_norm(batches[number], None, None, backend="numba")
            same = all(map(np.array_equal, got, wanted[number]))
            if not same:
                wrong.append(number)

    threads = [threading.Thread(target=again, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_backend_that_is_named_repeats_whatever_else_is_current(monkeypatch):
    """A name in the environment that no backend has does not matter to a call that names one."""
    monkeypatch.setenv("CNN_KERNELS_BACKEND", "none")
    x, y = random(0, "float32", (4, 5), (4, 5))
    for _ in range(OFTEN):
        got = kernels.relu_backward(x, y, backend="numba")
    np.testing.assert_array_equal(got, np.where(y > 0, x, 0))
