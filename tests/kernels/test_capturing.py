"""Captured calls do their work again, on what their arrays hold then."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import kernels
from kernels.capturing import also, capture, refuse
from tests.kernels.comparing import random


def conv_and_pool(x, w, y, pooled):
    """Two calls, the second on the first one's result, with a step of the caller's between."""

    def calls():
        kernels.conv2d(x, w, padding=1, out=y)
        also(np.add, y, 1, out=y)
        kernels.relu(y, out=pooled)

    return calls


def test_a_replay_works_on_what_the_arrays_hold_now():
    x, w = random(0, "float32", (2, 3, 8, 8), (4, 3, 3, 3))
    y, z = np.empty((2, 4, 8, 8), "float32"), np.empty((2, 4, 8, 8), "float32")
    captured = capture(conv_and_pool(x, w, y, z), backend="numba")
    assert captured is not None
    x *= -2
    w += 1
    captured.replay()
    wanted = kernels.relu(kernels.conv2d(x, w, padding=1, backend="numba") + 1, backend="numba")
    np.testing.assert_array_equal(z, wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(40, 3, 3, 3), (5, 3, 1, 2), (4, 1, 3, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_steady_weights_may_change_all_the_same(dtype, shape, groups):
    O, C, KH, KW = shape
    x, w = random(0, dtype, (1, C * groups, 8, 8), (O * groups, C, KH, KW))
    w[0], y = 0, np.empty((1, O * groups, 9 - KH, 9 - KW), dtype)
    captured = capture(
        lambda: kernels.conv2d(x, w, groups=groups, out=y, backend="numba"),
        backend="numba",
        steady=True,
    )
    for place, value in (((0, 0, 0, 0), -0.0), ((-1, -1, -1, -1), 3), ((0, 0, 0, 0), 2), (..., 1)):
        w[place] = value
        for _ in range(2):
            captured.replay()
            wanted = kernels.conv2d(x, w, groups=groups, backend="numba")
            np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_steady_weights_of_a_gradient_may_change_one_by_one(groups):
    """Which of them a task packs does not lie in one piece."""
    grad, w = random(0, "float32", (1, 8, 6, 6), (8, 8 // groups, 3, 3))
    grad_x = np.empty((1, 8, 8, 8), "float32")
    wanted = np.empty_like(grad_x)

    def call(out):
        window = dict(groups=groups, backend="numba")
        kernels.conv2d_backward_input(grad, w, out.shape, out=out, **window)

    captured = capture(lambda: call(grad_x), backend="numba", steady=True)
    for place in np.ndindex(*w.shape[:2]):
        w[place] += 1
        captured.replay()
        call(wanted)
        np.testing.assert_array_equal(grad_x, wanted)


@pytest.mark.compiled
def test_depthwise_calls_are_one_step_and_work_on_what_the_arrays_hold_now():
    C, window = 35, dict(stride=2, padding=1, groups=35, backend="numba")
    x, w, g = random(0, "float32", (2, C, 9, 8), (C, 1, 3, 3), (2, C, 5, 4))
    y, grad_x, grad_w = np.empty_like(g), np.empty_like(x), np.empty_like(w)

    def calls():
        kernels.conv2d(x, w, out=y, **window)
        kernels.conv2d_backward_input(g, w, x.shape, out=grad_x, **window)
        kernels.conv2d_backward_weight(g, x, w.shape, out=grad_w, **window)

    captured = capture(calls, backend="numba")
    assert len(captured.steps) == 1
    for array in (x, w, g):
        array *= -3
    captured.replay()
    np.testing.assert_array_equal(y, kernels.conv2d(x, w, **window))
    wanted = kernels.conv2d_backward(g, x, w, **window)
    np.testing.assert_array_equal(grad_x, wanted.grad_x)
    np.testing.assert_array_equal(grad_w, wanted.grad_weight)


@pytest.mark.compiled
def test_calls_that_follow_one_another_are_one_step():
    x, y, z = random(0, "float32", (2, 4), (2, 4), (2, 4))

    def calls():
        kernels.relu(x, out=y)
        kernels.relu_backward(x, y, out=z)
        kernels.relu(z, out=y)

    assert len(capture(calls, backend="numba").steps) == 1


@pytest.mark.parametrize("backend", ["naive", "numpy"])
def test_a_backend_without_captures_just_computes(backend):
    x, y = random(0, "float32", (2, 3), (2, 3))
    assert capture(lambda: kernels.relu(x, out=y, backend=backend), backend=backend) is None
    np.testing.assert_array_equal(y, np.maximum(x, 0))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: lambda: kernels.softmax_cross_entropy(x[:, :, 0, 0], np.array([0, 1])),
        lambda x: refuse,
    ],
)
def test_what_cannot_be_captured_is_none(call):
    (x,) = random(0, "float32", (2, 3, 4, 4))
    assert capture(call(x), backend="numba") is None


def test_kernels_called_in_a_step_of_the_caller_run_once_a_replay():
    x, y = random(0, "float32", (3,), (3,))
    times = []

    def step():
        times.append(1)
        kernels.relu(x, out=y, backend="numba")

    captured = capture(lambda: also(step), backend="numba")
    assert len(captured.steps) == 1
    captured.replay()
    assert len(times) == 2


def test_other_threads_are_not_captured():
    x, y = random(0, "float32", (3,), (3,))

    def in_a_thread():
        thread = threading.Thread(target=lambda: kernels.relu(x, out=y, backend="numba"))
        thread.start()
        thread.join()

    assert capture(in_a_thread, backend="numba").steps == []


def test_an_error_ends_the_capture():
    x, y = random(0, "float32", (3,), (3,))

    def fails():
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        capture(fails, backend="numba")
    kernels.relu(x, out=y, backend="numba")
    assert capture(lambda: None, backend="numba").steps == []


def test_two_captures_do_not_share_working_memory():
    """Both transform weights in memory of their own, which another call must not change."""
    x, w = random(0, "float32", (1, 16, 12, 12), (16, 16, 3, 3))
    outputs = [np.empty((1, 16, 12, 12), "float32") for _ in range(2)]
    captures = [
        capture(lambda w=w, y=y: kernels.conv2d(x, w, padding=1, out=y), backend="numba")
        for w, y in zip((w, -w), outputs, strict=True)
    ]
    threads = [
        threading.Thread(target=lambda c=c: [c.replay() for _ in range(200)]) for c in captures
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(outputs[0], -outputs[1])
    np.testing.assert_array_equal(outputs[0], kernels.conv2d(x, w, padding=1, backend="numba"))
