"""``python -m bench.plans``: variants of the planner's constants, but for the timing."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from bench import plans
from kernels.backends.numba import plan, plan_cuts
from kernels.ops import windows


def test_variants_are_parsed():
    assert plans.parse("SUMS_BYTES=7") == {"SUMS_BYTES": 7}
    assert plans.parse("MOST_TERMS=64,LEAST_TASKS=4") == {"MOST_TERMS": 64, "LEAST_TASKS": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SUMS=7", "must be among SCRATCH_BYTES, .*; got 'SUMS'"),
        ("LEAST_TASKS", "LEAST_TASKS takes a positive integer; got ''"),
        ("LEAST_TASKS=0", "LEAST_TASKS takes a positive integer; got '0'"),
        ("LEAST_TASKS=4,MOST_TERMS=-1", "MOST_TERMS takes a positive integer; got '-1'"),
    ],
)
def test_what_is_no_variant_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        plans.parse(text)


def test_neighbours_halve_and_double_each_constant():
    now = plan_cuts.SCRATCH_BYTES
    assert {"SCRATCH_BYTES": now // 2} in plans.neighbours()
    assert {"SCRATCH_BYTES": 2 * now} in plans.neighbours()
    assert len(plans.neighbours()) == 2 * len(plans.CONSTANTS)


def test_a_variant_changes_plans_and_only_while_it_lasts():
    geometry = windows.convolution((8, 64, 56, 56), (64, 64, 1, 1), 1, 0, 1, 1)
    lanes = plan.lanes_of(np.dtype(np.float32))
    before, constants = plan.forward_plan(geometry, lanes).tasks, plans.current(plans.CONSTANTS)
    with plans.planned({"SCRATCH_BYTES": plan_cuts.SCRATCH_BYTES // 4}):
        assert plan.forward_plan(geometry, lanes).tasks > before
    assert plan.forward_plan(geometry, lanes).tasks == before
    assert plans.current(plans.CONSTANTS) == constants


def test_calls_that_were_known_are_planned_anew():
    x, weight = np.ones((2, 16, 20, 20), np.float32), np.ones((16, 16, 1, 1), np.float32)
    for _ in range(5):  # the third one is captured
        kernels.conv2d(x, weight, backend="numba")
    with plans.planned({"SCRATCH_BYTES": plan_cuts.SCRATCH_BYTES // 4}):
        kernels.conv2d(x, weight, backend="numba")
        assert plan.forward_plan.cache_info().misses == 1
