"""Which plan a convolution has, in each direction."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from kernels.backends.numba import depthwise_plan, depthwise_weight_plan, plan, plan_weights
from kernels.backends.numba.operands import PLAIN, Loaded
from kernels.backends.numba.plan import Plan, lanes_of
from kernels.backends.numba.plan_weights import WeightPlan
from kernels.geometry import Axis, ConvGeometry

LONG_ROW = 128
"""Pixels of a row that weight gradients through 1×1 are summed along, at most. Of the time, 2
threads of Zen 5: single images of 256×14×14 to 256 channels 0.78, of 256×7×7 0.75, 32 images of
1×28×28 to 64 0.95, 8 of 256×14×14 to 1024 0.96. With 512, 8 of 64×56×56 to 256 took 1.14."""

FEW_IMAGES, FEW_PIXELS = 8, 256
"""Of fewer images, if they have more pixels, bands are too few so: single ones of 128×28×28 took
1.11 of the time, of 64×56×56 1.07."""


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
    if _in_place(geometry, lanes, read, pulled) and depthwise_weight_plan.fits(geometry):
        return depthwise_weight_plan.weight_plan(geometry, lanes)
    if read.plain and pulled.plain:
        geometry = _in_long_rows(geometry)
    return plan_weights.weight_plan(geometry, lanes)


@functools.lru_cache(maxsize=512)
def _in_long_rows(geometry: ConvGeometry) -> ConvGeometry:
    """Return the same with several rows of an image as one, where windows are single pixels.

    Tiles sum along rows. Not where few large images are cut into bands of these.
    """
    height, width = geometry.height, geometry.width
    single_pixels = all(axis == _of_pixels(axis.size) for axis in (height, width))
    if not single_pixels or (geometry.batch < FEW_IMAGES and height.size * width.size > FEW_PIXELS):
        return geometry
    counts = range(1, max(1, min(height.size, LONG_ROW // width.size)) + 1)
    together = max(n for n in counts if height.size % n == 0)
    down, across = _of_pixels(height.size // together), _of_pixels(width.size * together)
    return dataclasses.replace(geometry, height=down, width=across)


def _of_pixels(size: int) -> Axis:
    """Return an axis along which each window is a pixel."""
    return Axis(size, 1, 1, 1, 0, 0, size)


def _in_place(geometry: ConvGeometry, lanes: int, *loaded: Loaded) -> bool:
    """Tell whether groups of few channels can be read where they are, as nothing is done to them.

    Else what is loaded is copied.
    """
    return depthwise_plan.fits(geometry, lanes) and all(each.plain for each in loaded)
