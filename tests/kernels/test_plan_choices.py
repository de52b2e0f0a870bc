"""What the planner of the numba backend decides by sizes: plain Python, nothing is compiled."""

import numpy as np
import pytest

from kernels.backends.numba import plan, plan_weights, winograd_cost
from kernels.backends.numba.plan_cuts import LEAST_TASKS
from kernels.ops import windows

LANES = 16


@pytest.fixture
def costs(monkeypatch):
    """The cost model as it is for AVX-512 that multiplies twice a cycle, to be changed."""
    monkeypatch.setattr(winograd_cost, "MULTIPLICATION", 0.5)
    monkeypatch.setattr(winograd_cost, "REGISTER_BYTES", 64)
    plan.forward_plan.cache_clear()
    yield monkeypatch
    plan.forward_plan.cache_clear()


def forward(images, channels, size, targets, kernel=1, stride=1):
    shapes = (images, channels, size, size), (targets, channels, kernel, kernel)
    geometry = windows.convolution(*shapes, stride, kernel // 2, 1, 1)
    return plan.forward_plan(geometry, LANES)


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ((4, 1, 28, 64), 1),  # 196 pixels a task
        ((8, 64, 28, 128), 1),
        ((8, 128, 7, 128), 4),  # 24 pixels
        ((8, 512, 14, 512), 2),  # 1 MiB of weights
    ],
)
def test_tasks_have_whole_pixels_where_they_have_enough_of_them(sizes, parts, costs):
    costs.setattr(plan, "largest", lambda: 4)
    chosen = forward(*sizes)
    assert chosen.parts == parts
    assert chosen.tasks >= LEAST_TASKS


@pytest.mark.parametrize(("cores", "parts"), [(1, 1), (2, 1), (3, 2), (4, 2), (64, 2)])
def test_eight_tasks_are_enough_for_two_cores(cores, parts, costs):
    costs.setattr(plan, "largest", lambda: cores)
    assert forward(8, 256, 14, 512).slots == 8
    assert forward(8, 256, 14, 512).parts == parts
    assert forward(8, 512, 14, 512).parts == 2  # 167 weights a pixel


@pytest.mark.parametrize(
    ("sizes", "chunk", "rows"),
    [
        ((8, 512, 7, 512, 3), 2, 7),  # 1.3 MB of source rows for all images
        ((8, 512, 14, 512, 3), 1, 7),  # 540 KB for an image: bands are even, not 13 rows and 1
    ],
)
def test_few_pixels_are_gathered_together(sizes, chunk, rows, costs):
    costs.setattr(winograd_cost, "ENABLED", False)
    chosen = forward(*sizes)
    assert (chosen.chunk, chosen.band_rows) == (chunk, rows)


@pytest.mark.parametrize(
    ("sizes", "fetched"),
    [
        ((32, 1, 28, 64), 1),  # 6.4 MB to write
        ((32, 10, 14, 256), 1),
        ((32, 10, 28, 64), 0),
        ((8, 1, 28, 64), 0),  # 1.6 MB
        ((32, 16, 28, 64), 0),  # 6.4 MB, 16 terms
        ((8, 64, 28, 64), 1),  # 64 terms
    ],
)
def test_lines_to_be_written_are_fetched_where_they_come_late_or_in_time(sizes, fetched):
    assert forward(*sizes).fetched == fetched


@pytest.mark.parametrize(
    ("sizes", "parts", "bands"),
    [
        ((1, 256, 14, 256, 1, 2), 8, 1),  # 49 pixels, 1,337 sums for each
        ((1, 128, 14, 128, 3, 2), 4, 1),
        ((1, 64, 14, 128, 3, 2), 1, 4),  # would be 2 tasks
        ((1, 256, 14, 256, 1, 1), 1, 4),  # 334 sums a pixel
        ((1, 256, 56, 256, 3, 2), 8, 3),  # 784 pixels
    ],
)
def test_weight_gradients_of_few_pixels_are_cut_by_channels_alone(sizes, parts, bands):
    images, channels, size, targets, kernel, stride = sizes
    shapes = (images, channels, size, size), (targets, channels, kernel, kernel)
    geometry = windows.convolution(*shapes, stride, kernel // 2, 1, 1)
    chosen = plan_weights.weight_plan(geometry, LANES)
    assert (chosen.shape["parts"][0], chosen.shape["bands"][0]) == (parts, bands)


@pytest.mark.parametrize(
    ("sizes", "ascending", "parts"),
    [
        ((8, 128, 28, 256, 3, 2), True, 4),
        ((8, 100, 28, 256, 3, 2), False, 3),  # 48, 48 and 4 channels
        ((8, 100, 28, 256, 1, 2), True, 1),
        ((32, 30, 16, 64, 3, 2), True, 1),
        ((32, 3, 16, 16, 5, 1), False, 1),  # the last of a row of 15 comes twice
        ((8, 200, 28, 600, 1, 1), True, 2),  # 112 and 88 channels
    ],
)
def test_weight_gradients_take_their_rows_in_the_order_of_memory(sizes, ascending, parts):
    images, channels, size, targets, kernel, stride = sizes
    shapes = (images, channels, size, size), (targets, channels, kernel, kernel)
    chosen = plan_weights.weight_plan(
        windows.convolution(*shapes, stride, kernel // 2, 1, 1), LANES
    )
    shape = chosen.shape[0]
    rows = chosen.segments.reshape(-1, 2)[int(shape["first_term"]) :, 0]
    assert (shape["ascending"], shape["parts"]) == (ascending, parts)
    assert len(rows) == kernel**2 * min(channels, shape["part_channels"]) + shape["unused"]
    assert bool((np.diff(rows) > 0).all()) == ascending


def test_winograds_algorithm_gives_way_where_its_weights_leave_the_caches(costs):
    """36 points of 512 by 512 channels take 38 MB, which few pixels are not worth."""
    few, many = (windows.convolution((n, 512, 7, 7), (512, 512, 3, 3), 1, 1, 1, 1) for n in (8, 32))
    assert not plan.forward_plan(few, LANES).winograd
    assert plan.forward_plan(many, LANES).winograd
