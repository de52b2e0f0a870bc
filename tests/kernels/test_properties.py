"""hypothesis draws the cross-check's cases: shapes, windows, dtypes and memory layouts."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kernels
from kernels.crosscheck.drawing import Draw
from kernels.crosscheck.running import draw_case, faults, known_operations

RARE = 0.05


class Shrinking(Draw):
    """Draws from hypothesis, which looks for the simplest case that fails."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        self._rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
        self.dtype = np.dtype(self.choice("float32", "float64"))
        self.large = self.wide = False

    def integer(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))

    def chance(self, probability: float) -> bool:
        if probability < RARE:  # large cases, for which naive takes seconds
            return self._data.draw(st.integers(0, round(1 / probability) - 1)) == 1
        return self._data.draw(st.booleans())


@pytest.mark.parametrize("operation", known_operations())
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_agrees_with_naive(operation, fast_backend, data):
    case = draw_case(operation, Shrinking(data))
    assert [fault for _, fault in faults(operation, case, fast_backend) if fault] == []


def _lines_run(function) -> int:
    """Count the lines of the numpy backend that a call runs."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if "backends/numpy" not in frame.f_code.co_filename.replace("\\", "/"):
            return None
        count += event == "line"
        return trace

    function()  # buffers are made on the first call
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def _calls(N, C, H, W):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, C, H, W))
    vector = np.ones(C)
    calls = {
        "max_pool2d": lambda: kernels.max_pool2d(x, 3, stride=2, padding=1),
        "avg_pool2d": lambda: kernels.avg_pool2d(x, 3, stride=2, padding=1),
        "avg_pool2d_backward": lambda: kernels.avg_pool2d_backward(
            x, (N, C, H + 1, W + 1), 2, stride=1
        ),
        "global_avg_pool2d": lambda: kernels.global_avg_pool2d(x),
        "batch_norm": lambda: kernels.batch_norm(x, vector, vector),
        "batch_norm_backward": lambda: kernels.batch_norm_backward(x, x, vector, vector, vector),
        "softmax": lambda: kernels.softmax(x.reshape(N, -1)),
        "relu_backward": lambda: kernels.relu_backward(x, x),
    }
    for name, window in {
        "plain": dict(padding=1),
        "strided": dict(stride=2, padding=1),
        "dilated": dict(dilation=2, padding=2),
        "grouped": dict(groups=2, padding=1),
    }.items():
        weight = rng.standard_normal((C, C // window.get("groups", 1), 3, 3))
        y = kernels.conv2d(x, weight, **window)
        calls[f"conv2d {name}"] = lambda w=weight, k=window: kernels.conv2d(x, w, **k)
        calls[f"conv2d_backward {name}"] = lambda y=y, w=weight, k=window: kernels.conv2d_backward(
            y, x, w, **k
        )
    return calls


def test_numpy_backend_has_no_loop_over_images_channels_or_pixels():
    with kernels.use_backend("numpy"):
        small, large = _calls(1, 2, 6, 7), _calls(3, 8, 12, 13)
        for name in small:
            lines = _lines_run(small[name])
            assert lines > 0
            assert _lines_run(large[name]) == lines, name
