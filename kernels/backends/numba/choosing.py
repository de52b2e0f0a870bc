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
    planned = depthwise_plan if _in_place(geometry, read) else plan
    return planned.forward_plan(geometry, lanes_of(dtype))


def backward_plan(geometry: ConvGeometry, dtype: np.dtype[Any], pulled: Loaded = PLAIN) -> Plan:
    """Return the plan that gathers x's gradient from y's."""
    planned = depthwise_plan if _in_place(geometry, pulled) else plan
    return planned.backward_plan(geometry, lanes_of(dtype))


def weight_plan(
    geometry: ConvGeometry, dtype: np.dtype[Any], read: Loaded = PLAIN, pulled: Loaded = PLAIN
) -> WeightPlan:
    """Return the plan that sums the weights' gradient."""
    in_place = _in_place(geometry, read, pulled) and depthwise_weight_plan.fits(geometry)
    planned = depthwise_weight_plan if in_place else plan_weights
    return planned.weight_plan(geometry, lanes_of(dtype))


def _in_place(geometry: ConvGeometry, *loaded: Loaded) -> bool:
    """Tell whether a depthwise convolution can read what is there, as nothing is done to it.

    Else it is one of few channels in each group: these copy what they load.
    """
    return depthwise_plan.fits(geometry) and all(each.plain for each in loaded)
