"""Which plan a convolution has, in each direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.backends.numba import depthwise_plan, depthwise_weight_plan, plan, plan_weights
from kernels.backends.numba.operands import PLAIN, Loaded
from kernels.backends.numba.plan import Plan, lanes_of
from kernels.backends.numba.plan_weights import WeightPlan
from kernels.geometry import ConvGeometry


def forward_plan(geometry: ConvGeometry, dtype: np.dtype[Any], read: Loaded = PLAIN) -> Plan:
    """Return the plan that gathers y from x."""
    lanes = lanes_of(dtype)
    planned = depthwise_plan if _in_place(geometry, lanes, read) else plan
    return planned.forward_plan(geometry, lanes)


def backward_plan(geometry: ConvGeometry, dtype: np.dtype[Any], pulled: Loaded = PLAIN) -> Plan:
    """Return the plan that gathers x's gradient from y's."""
    lanes = lanes_of(dtype)
    planned = depthwise_plan if _in_place(geometry, lanes, pulled) else plan
    return planned.backward_plan(geometry, lanes)


def weight_plan(
    geometry: ConvGeometry, dtype: np.dtype[Any], read: Loaded = PLAIN, pulled: Loaded = PLAIN
) -> WeightPlan:
    """Return the plan that sums the weights' gradient."""
    lanes = lanes_of(dtype)
    in_place = _in_place(geometry, lanes, read, pulled) and depthwise_weight_plan.fits(geometry)
    planned = depthwise_weight_plan if in_place else plan_weights
    return planned.weight_plan(geometry, lanes)


def _in_place(geometry: ConvGeometry, lanes: int, *loaded: Loaded) -> bool:
    """Tell whether groups of few channels can be read where they are, as nothing is done to them.

    Else what is loaded is copied.
    """
    return depthwise_plan.fits(geometry, lanes) and all(each.plain for each in loaded)
