"""Winograd's algorithm with all tiles multiplied together: where it is chosen, and what it takes.

``test_winograd`` compares its passes with the reference, too.
"""

import numpy as np
import pytest

from kernels.backends.numba import choosing, explaining, plan_at_once, winograd_cost
from kernels.crosscheck import drawing
from kernels.crosscheck import fused as fused_cases
from kernels.crosscheck.running import check_backend
from kernels.ops import repeating
from tests.kernels.comparing import compare_threads
from tests.kernels.test_winograd import assert_within_bound, drawn, geometry_of

FLOAT = np.dtype(np.float32)


@pytest.fixture
def everywhere(monkeypatch):
    """Have it done wherever the cross-check allows it, few channels at a time."""
    for name, value in {
        "MOST_TILES": 10**6,
        "TILE_PRODUCTS": 1e-6,
        "LEAST_PRODUCTS": 0,
        "GATHERED_CHANNELS": 16,
        "ACCUMULATED_VECTORS": 1,
    }.items():
        monkeypatch.setattr(plan_at_once, name, value)
    _forget()
    yield monkeypatch
    monkeypatch.undo()
    _forget()


def _forget():
    plan_at_once.forget()
    repeating.forget()


def transforms(*sizes):
    """Return how many tasks come first, in each pass; none where it is not done."""
    geometry = geometry_of(*sizes)
    planned = (choosing.forward_plan, choosing.backward_plan, choosing.weight_plan)
    return [plan(geometry, FLOAT).transforms for plan in planned]


@pytest.mark.parametrize(
    ("C", "O"),
    [
        (48, 40),
        (37, 50),  # a last part of 5 channels, not all of a panel's
        (33, 16),  # a last part of one channel, one vector
    ],
)
def test_channels_in_several_parts(C, O, dtype, everywhere):
    for model in ("gather_cycles_at_once", "weight_cycles_at_once"):
        everywhere.setattr(winograd_cost, model, lambda *sizes: (1.0, 0.0))
    _forget()
    assert all(transforms(2, C, O, 10, 7))
    assert_within_bound(*drawn(2, C, O, 10, 7, 1, dtype), 1, reference="numpy")


@pytest.mark.parametrize("operation", ["conv_forward", "conv_backward"])
def test_what_is_fused_comes_before_and_after(operation, dtype, everywhere):
    """Batch-norm, ReLU, pooling, statistics, masks, a bias's gradient: as the cross-check draws."""
    for model in ("gather_cycles_at_once", "weight_cycles_at_once"):
        everywhere.setattr(winograd_cost, model, lambda *sizes: (1.0, 0.0))
    _forget()
    everywhere.setattr(fused_cases, "TILED_ONE_IN", 1)
    everywhere.setattr(drawing, "MANY_IMAGES", 2)
    report = check_backend("numba", operations=[operation], cases=5, dtype=dtype)
    assert report.passed, report


def test_same_bits_with_one_thread_and_with_all(everywhere):
    assert all(transforms(3, 40, 50, 14, 14))
    compare_threads((3, 40, 14, 14), (50, 40, 3, 3), padding=1)


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ((8, 512, 512, 7, 7), [8] * 3),
        ((1, 256, 256, 28, 28), [4] * 3),  # bands of two rows of tiles, the last of one
        ((32, 128, 128, 14, 14), [0] * 3),  # 512 tiles
        ((8, 128, 128, 7, 7), [0] * 3),  # weights that the caches hold
        ((1, 512, 512, 7, 7), [0] * 3),  # fewer pixels than the cross-check allows
        ((8, 512, 512, 7, 7, 1, 2), [0] * 3),  # groups
    ],
)
def test_few_tiles_of_many_channels_are_multiplied_together(sizes, wanted):
    assert transforms(*sizes) == wanted


def test_it_takes_less_memory_than_the_points_of_the_weights():
    geometry = geometry_of(8, 512, 512, 7, 7)
    points = 36 * 512 * 512
    assert choosing.forward_plan(geometry, FLOAT).points_size < points / 8
    assert choosing.weight_plan(geometry, FLOAT).size < points / 4


def test_memory_does_not_grow_with_the_images():
    few, many = (
        max(
            plan_at_once.weight_plan(geometry, 16).size
            for N in images
            if plan_at_once.weight_plan(geometry := geometry_of(N, 512, 512, 7, 7), 16)
        )
        for images in (range(2, 33), range(2, 1000, 7))
    )
    assert many <= few
    assert transforms(1000, 512, 512, 7, 7) == [0] * 3


def test_doctor_says_so():
    lines = explaining.explain(geometry_of(8, 512, 512, 7, 7), FLOAT)
    for of_pass in lines.values():
        assert any("all tiles are multiplied together: 8 tasks transform" in one for one in of_pass)
        assert of_pass[0].startswith("Winograd")
