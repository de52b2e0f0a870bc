"""Which plan a convolution has, in each direction."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from kernels.backends.numba import (
    depthwise_plan,
    depthwise_weight_plan,
    plan,
    plan_at_once,
    plan_weights,
)
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
    if _in_place(geometry, lanes, read):
        return depthwise_plan.forward_plan(geometry, lanes)
    return plan_at_once.forward_plan(geometry, lanes) or plan.forward_plan(geometry, lanes)


def backward_plan(geometry: ConvGeometry, dtype: np.dtype[Any], pulled: Loaded = PLAIN) -> Plan:
    """Return the plan that gathers x's gradient from y's."""
    lanes = lanes_of(dtype)
    if _in_place(geometry, lanes, pulled):
        return depthwise_plan.backward_plan(geometry, lanes)
    return plan_at_once.backward_plan(geometry, lanes) or plan.backward_plan(geometry, lanes)


def takes_dots(geometry: ConvGeometry, sources: int, targets: int, dtype: np.dtype[Any]) -> bool:
    """Tell whether a gather has one target channel, and pixels to be multiplied as they are.

    Each result is then the dot product of a pixel with the weights. 8 images of 28×28 on 2 threads
    of a Xeon (Emerald Rapids), 16 to 1 channel 0.68 of the time, 64 to 1 0.49, 256 to 1 0.43; but
    64 images, 8 to 1 1.7.
    """
    one = targets == geometry.groups == 1 and geometry.batch > 0
    return one and sources >= lanes_of(dtype) and _has_single_pixels(geometry)


@functools.lru_cache(maxsize=512)
def exchanged(geometry: ConvGeometry, dtype: np.dtype[Any]) -> ConvGeometry | None:
    """Return the geometry for a weight gradient with x and grad_y exchanged, None if it is no gain.

    Through 1×1 that is the matrix of the gradient turned over, with vectors of the other channels.
    8 images of 28×28 on 2 threads of a Xeon (Emerald Rapids), from 64 channels: to 1 to 4 of them
    0.4 to 0.6 of the time, to 8 0.60. Where that saves less than half of the vectors it is left:
    to 10 it would take 1.01, to 20 1.00, but to 33 0.77.
    """
    if geometry.groups > 1 or not _has_single_pixels(geometry):
        return None
    lanes, C, O = lanes_of(dtype), geometry.channels, geometry.out_channels
    if 2 * O * -(-C // lanes) > C * -(-O // lanes):
        return None
    return dataclasses.replace(geometry, channels=O, out_channels=C)


def weight_plan(
    geometry: ConvGeometry, dtype: np.dtype[Any], read: Loaded = PLAIN, pulled: Loaded = PLAIN
) -> WeightPlan:
    """Return the plan that sums the weights' gradient."""
    lanes = lanes_of(dtype)
    if _in_place(geometry, lanes, read, pulled) and depthwise_weight_plan.fits(geometry):
        return depthwise_weight_plan.weight_plan(geometry, lanes)
    if read.plain and pulled.plain:
        geometry = _in_long_rows(geometry)
    at_once = plan_at_once.weight_plan(geometry, lanes)
    return at_once or plan_weights.weight_plan(geometry, lanes)


@functools.lru_cache(maxsize=512)
def _in_long_rows(geometry: ConvGeometry) -> ConvGeometry:
    """Return the same with several rows of an image as one, where windows are single pixels.

    Tiles sum along rows. Not where few large images are cut into bands of these.
    """
    height, width = geometry.height, geometry.width
    few_bands = geometry.batch < FEW_IMAGES and height.size * width.size > FEW_PIXELS
    if few_bands or not _has_single_pixels(geometry):
        return geometry
    counts = range(1, max(1, min(height.size, LONG_ROW // width.size)) + 1)
    together = max(n for n in counts if height.size % n == 0)
    down, across = _of_pixels(height.size // together), _of_pixels(width.size * together)
    return dataclasses.replace(geometry, height=down, width=across)


def _has_single_pixels(geometry: ConvGeometry) -> bool:
    return all(axis == _of_pixels(axis.size) for axis in (geometry.height, geometry.width))


def _of_pixels(size: int) -> Axis:
    """Return an axis along which each window is a pixel."""
    return Axis(size, 1, 1, 1, 0, 0, size)


def _in_place(geometry: ConvGeometry, lanes: int, *loaded: Loaded) -> bool:
    """Tell whether groups of few channels can be read where they are, as nothing is done to them.

    Else what is loaded is copied.
    """
    return depthwise_plan.fits(geometry, lanes) and all(each.plain for each in loaded)
