"""When Winograd's algorithm is the faster one: a model in cycles of one core.

``python -m bench.winograd`` measures both algorithms beside the model's figures. Of 39 passes of 13
cases it chose the faster one in 33; the others are images of a few pixels, calls of 0.02 to 0.05
ms, where the ratio was 0.93 to 1.55 from run to run. For large ones it promises too much (2.6 to
2.9 times as fast as the direct algorithm, measured 1.4 to 2.7), but chooses right.
"""

from __future__ import annotations

import os

from kernels.geometry import ConvGeometry

ENABLED = os.environ.get("CNN_KERNELS_WINOGRAD", "1") != "0"
"""The switch: without it every convolution is computed directly."""

TILE, POINTS, TAPS = 4, 36, 9
"""F(4×4, 3×3): output pixels of a tile along each axis, and products per tile."""

SOURCE_TILE, TARGET_TILE, GRADIENT_TILE = 190, 270, 200
"""Cycles to transform a tile of one vector of channels: measured on Zen 4, in the L2 cache. The
target's 130 have 140 more for storing its products, which for 3 channels are sums of 3 terms: these
(32 images of 32×32 to 64 channels) ran at 132 GFLOP/s, directly at 177; for 4 the two are even."""

PRODUCT = 1.2
"""Cycles of a multiplication of two vectors, with what a short product costs besides."""

FILTER = 700
"""Cycles to pack and transform one source channel's taps for a vector of target channels."""

WEIGHT = 4
"""Cycles to fetch a vector of transformed weights, once for each task's tiles."""

PARTIAL = 12
"""Cycles to load, add and store a vector of partial weight gradients."""

TASK_TILES = 64
"""Tiles of a task, at most: their transforms have to stay in the L2 cache."""


def fits(geometry: ConvGeometry) -> bool:
    """Tell whether it is a 3×3 convolution of stride and dilation 1 in one group."""
    axes = (geometry.height, geometry.width)
    return geometry.groups == 1 and all(
        (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) for axis in axes
    )


def gather_cycles(
    images: int, rows: int, columns: int, source_channels: int, target_vectors: int, lanes: int
) -> tuple[float, float]:
    """Estimate the cycles of a gather: directly, and by Winograd's algorithm."""
    products = source_channels * target_vectors
    direct = (images * rows * columns * TAPS + FILTER / 4) * products
    tiles = images * -(-rows // TILE) * -(-columns // TILE)
    transforms = SOURCE_TILE * -(-source_channels // lanes) + TARGET_TILE * target_vectors
    fetches = -(-tiles // TASK_TILES) * POINTS * WEIGHT + FILTER
    return direct, tiles * (POINTS * PRODUCT * products + transforms) + fetches * products


def weight_cycles(
    images: int, rows: int, columns: int, channels: int, target_vectors: int, lanes: int
) -> tuple[float, float]:
    """Estimate the cycles of a weight gradient: directly, and by Winograd's algorithm."""
    products = channels * target_vectors
    direct = images * rows * columns * TAPS * products
    tiles = images * -(-rows // TILE) * -(-columns // TILE)
    transforms = SOURCE_TILE * -(-channels // lanes) + GRADIENT_TILE * target_vectors
    passes = 2 + tiles / TASK_TILES
    partials = PARTIAL * passes * POINTS * products
    return direct, tiles * (POINTS * PRODUCT * products + transforms) + partials
