"""More than 2³¹ elements: tables and indices that would not fit into 32 bits.

The arrays to be read are zeros that the operating system has not given memory to yet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kernels
from kernels.backends.numba.plan import backward_plan, forward_plan
from kernels.geometry import Axis, ConvGeometry, output_size

MEMORY = Path("/proc/meminfo")
SHAPE = (17, 1, 8192, 16384)  # 17 · 2²⁷ elements; one channel, so that NCHW is taken as it is
SPARSE = dict(stride=64)
LAST = (-1, 0, -64, -64)  # in the last image, where a window of that stride begins


def require_memory(gibibytes: int) -> None:
    """Skip, and say so, where the machine is too small; 12 GiB is the most that is asked for."""
    if not MEMORY.exists():
        pytest.skip(f"{MEMORY} does not say how much memory there is")
    (line,) = (line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable:"))
    available = int(line.split()[1]) / 2**20
    if available < gibibytes:
        pytest.skip(f"needs {gibibytes} GiB of memory, {available:.1f} are available")


def spiked() -> np.ndarray:
    require_memory(1)
    x = np.zeros(SHAPE, "float32")
    x[LAST], x[0, 0, 0, 0] = 3, 5
    return x


def assert_spiked(small: np.ndarray, last: float, first: float) -> None:
    assert (small[-1, 0, -1, -1], small[0, 0, 0, 0]) == (last, first)
    assert np.count_nonzero(small) == 2


@pytest.fixture(autouse=True)
def _numba():
    with kernels.use_backend("numba"):
        yield


def axis(size: int, kernel: int, stride: int, dilation: int) -> Axis:
    return Axis(size, kernel, stride, dilation, 0, 0, output_size(size, kernel, stride, dilation))


def test_planned_offsets_are_exact():
    """A scratch buffer of 8,001 rows of 50,000 pixels of 64 channels: 2.6e10 elements."""
    height, width = axis(9000, 9, 1, 1000), axis(50_000, 3, 1, 7)
    geometry = ConvGeometry(40, 64, 64, 1, height, width)
    assert np.prod(geometry.x_shape) > 2**31
    for plan in (forward_plan(geometry, 16), backward_plan(geometry, 16)):
        pairs = plan.segments.reshape(-1, 2)
        offsets, lengths = pairs[: plan.blocks["last"].max()].T
        assert offsets.dtype == np.int64
        assert offsets.min() == 0
        last = offsets + lengths - 1
        assert last.max() == ((8 * 1000 * plan.scratch_columns) + 2 * 7) * 64 + 63
        assert last.max() > 2**31


def test_planes_whose_indices_would_not_fit_are_refused():
    plane = np.broadcast_to(np.float32(0), (1, 1, 2**16, 2**15))
    with pytest.raises(kernels.ShapeError, match="planes of at most 2147483647"):
        kernels.max_pool2d(plane, 2)


def test_pooling_reads_the_end():
    x = spiked()
    y, indices = kernels.max_pool2d(x, 2, **SPARSE)
    assert_spiked(y, 3, 5)
    assert indices[-1, 0, -1, -1] == (8192 - 64) * 16384 + 16384 - 64
    assert_spiked(kernels.avg_pool2d(x, 2, **SPARSE), 3 / 4, 5 / 4)


def test_convolution_reads_the_end():
    x = spiked()
    weight = np.arange(1, 5, dtype="float32").reshape(1, 1, 2, 2)
    y = kernels.conv2d(x, weight, **SPARSE)
    assert_spiked(y, 3, 5)
    grad_y = np.ones_like(y)
    grad_y[-1, 0, -1, -1] = 100
    gradient = kernels.conv2d_backward_weight(grad_y, x, weight.shape, **SPARSE)
    assert gradient.ravel().tolist() == [305, 0, 0, 0]


@pytest.mark.long
def test_means_read_the_end():
    x = spiked()
    means = kernels.global_avg_pool2d(x)
    assert_spiked(means, 3 / 2**27, 5 / 2**27)


def test_linear_reads_the_end():
    require_memory(1)
    weight = np.zeros((2**16 + 1, 2**15), "float32")
    weight[-1, -1], weight[0, 0] = 3, 5
    y = kernels.linear(np.ones((1, 2**15), "float32"), weight)
    assert (y[0, -1], y[0, 0], np.count_nonzero(y)) == (3, 5, 2)


@pytest.mark.long
def test_elementwise_operations_write_the_end():
    require_memory(12)
    assert_written(kernels.relu(spiked()))


@pytest.mark.long
def test_gradient_of_pooling_writes_the_end():
    require_memory(12)
    grad_y = np.zeros((17, 1, 1, 1), "float32")
    grad_y[-1], grad_y[0] = 3, 5
    places = np.zeros((17, 1, 1, 1), "int32")
    places[-1] = (8192 - 64) * 16384 + 16384 - 64
    assert_written(kernels.max_pool2d_backward(grad_y, places, SHAPE))


@pytest.mark.long
def test_gradient_of_convolution_writes_the_end():
    require_memory(12)
    grad_y = np.zeros((17, 1, 128, 256), "float32")
    grad_y[-1, 0, -1, -1], grad_y[0, 0, 0, 0] = 3, 5
    weight = np.zeros((1, 1, 2, 2), "float32")
    weight[0, 0, 0, 0] = 1
    assert_written(kernels.conv2d_backward_input(grad_y, weight, SHAPE, **SPARSE))


def assert_written(large: np.ndarray) -> None:
    assert (large[LAST], large[0, 0, 0, 0]) == (3, 5)
    assert [np.count_nonzero(large[image]) for image in (0, 8, 15, 16)] == [1, 0, 0, 1]
